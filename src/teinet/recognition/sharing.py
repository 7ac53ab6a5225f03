"""Recognizers from and to the Hugging Face Hub: folders and repositories of one file and its model card."""

from __future__ import annotations

import copy
import logging
import re
from collections.abc import Mapping
from os import PathLike, fspath
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from teinet.errors import CheckpointError, ConfigError
from teinet.models.header import hub_file
from teinet.models.hub import MODEL, HubAddress, hub_errors, is_hub_address
from teinet.recognition.model_card import model_card
from teinet.utils.files import write_text

if TYPE_CHECKING:
    import torch

    from teinet.recognition.recognizer import Recognizer

log = logging.getLogger("teinet")

CARD = "README.md"
_REPOSITORY = re.compile(r"[\w.-]+/[\w.-]+(?<!\.safetensors)(@.+)?")


def find(name: str | PathLike, *, revision: str | None = None, **how: Any) -> Path:
    """Return the path or file of a name: what exists, a pretrained model, or a repository's file in the hub's cache.

    Args:
        name, revision, how: see `Recognizer.from_pretrained`.

    Raises:
        CheckpointError, ConfigError: see `Recognizer.from_pretrained`.
    """
    text = fspath(name)
    if is_hub_address(text):
        return hub_file(text, revision=revision, **how)
    if _REPOSITORY.fullmatch(text) and not Path(text).exists():
        try:
            return hub_file(f"hf://{text}", revision=revision, **how)
        except CheckpointError as error:
            raise CheckpointError(f"{error}; and there is no folder or file {text}") from None
    if revision is not None:
        raise ConfigError(f"{text}: a revision belongs to a repository, user/name; this is none")
    return Path(text)


def save_folder(
    recognizer: Recognizer, folder: str | PathLike, *, dtype: torch.dtype | None = None, repository: str = ""
) -> None:
    """Write the recognizer's file and, unless there is one, its card; see `Recognizer.save_pretrained`."""
    folder = Path(folder)
    shared = copy.copy(recognizer)
    shared.header = _without_places(recognizer.header)
    shared.save(folder / MODEL, dtype=dtype)
    if (folder / CARD).exists():
        log.warning("%s: kept; its figures and classes are not looked at", folder / CARD)
    else:
        write_text(folder / CARD, model_card(shared, repository))


def push(
    recognizer: Recognizer,
    repository: str,
    *,
    token: str | bool | None = None,
    private: bool | None = None,
    commit_message: str,
    revision: str | None = None,
    overwrite_card: bool = False,
    dtype: torch.dtype | None = None,
) -> str:
    """Create the repository and the branch, and write to it in one commit; see `Recognizer.push_to_hub`."""
    from huggingface_hub import CommitOperationAdd, HfApi, constants

    text = repository if is_hub_address(repository) else f"hf://{repository}"
    place = HubAddress.parse(text, revision=revision)
    if place.file != MODEL:
        raise ConfigError(f"{place}: a repository to push to is user/name; its file is {MODEL}")
    if constants.HF_HUB_OFFLINE:
        raise ConfigError(f"{place}: nothing can be pushed while HF_HUB_OFFLINE is set")
    api = HfApi(token=token)
    with TemporaryDirectory() as folder:
        save_folder(recognizer, folder, dtype=dtype, repository=place.repository)
        with hub_errors(place, token):
            api.create_repo(place.repository, private=private, exist_ok=True)
            if place.revision:
                api.create_branch(place.repository, branch=place.revision, exist_ok=True)
            files = [MODEL, CARD]
            if not overwrite_card and api.file_exists(place.repository, CARD, revision=place.revision):
                files.remove(CARD)
                log.warning("%s: its %s is kept; overwrite_card=True writes it again", place, CARD)
            commit = api.create_commit(
                place.repository,
                [CommitOperationAdd(path_in_repo=name, path_or_fileobj=Path(folder, name)) for name in files],
                commit_message=commit_message,
                revision=place.revision,
            )
    return str(commit.commit_url)


def _without_places(header: Mapping[str, Any]) -> dict[str, Any]:
    """Return a header without the folders, lists and files of the machine that trained: those concern no one else."""
    recipe = dict(header.get("recipe") or {})
    recipe.pop("run", None)
    if recipe:
        recipe["data"] = {}
        places = ("weights", "backbone_weights")
        recipe["model"] = {key: value for key, value in (recipe.get("model") or {}).items() if key not in places}
    return {**header, "recipe": recipe}
