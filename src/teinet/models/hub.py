"""Weights in repositories of the Hugging Face Hub: hf://user/name[@revision][/file.safetensors]. Needs no torch."""

from __future__ import annotations

import re
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from os import PathLike, fspath
from pathlib import Path
from typing import NamedTuple

from teinet.errors import CheckpointError, ConfigError, TeinetError

MODEL = "model.safetensors"  # the recognizer of a repository, or of a folder to share
_PATIENCE = 5.0  # seconds for an answer of the hub
_SCHEME = re.compile(r"hf:/+")  # pathlib makes hf:/ of hf://
_TOKEN = "hf auth login, HF_TOKEN, or token= in Python"
_COPY = "HF_HUB_OFFLINE=1 (local_files_only=True in Python) uses a copy that was downloaded before"


class HubAddress(NamedTuple):
    """A file in a repository of models; as text, its address.

    Args:
        repository: user/name.
        revision: a branch, tag or commit; None is the main branch.
    """

    repository: str
    revision: str | None
    file: str

    def __str__(self) -> str:
        at = f"@{self.revision}" if self.revision else ""
        return f"hf://{self.repository}{at}" + ("" if self.file == MODEL else f"/{self.file}")

    @classmethod
    def parse(cls, address: str | PathLike[str], *, revision: str | None = None) -> HubAddress:
        """Parse hf://user/name[@revision][/file.safetensors]; ConfigError for another form, or for two revisions."""
        from huggingface_hub import parse_hf_uri

        plain = _SCHEME.sub("hf://", fspath(address), count=1)
        try:
            found = parse_hf_uri(plain)
        except ValueError:
            found = None
        if found is None or found.type != "model":
            raise ConfigError(f"{plain}: an address of weights is hf://user/name, or hf://user/name@revision/FILE")
        file = found.path_in_repo or MODEL
        if not file.endswith(".safetensors"):
            raise ConfigError(f"{plain}: weights are a .safetensors file; without a name it is {MODEL}")
        if revision and found.revision and revision != found.revision:
            raise ConfigError(f"{plain}: its revision is {found.revision}, and another one is given: {revision}")
        return cls(found.id, revision or found.revision, file)


def is_hub_address(path: str | PathLike[str]) -> bool:
    """Return whether a path is an address hf://..., also as a `Path`."""
    return _SCHEME.match(fspath(path)) is not None


def download(
    address: HubAddress,
    *,
    token: str | bool | None = None,
    cache_dir: str | PathLike[str] | None = None,
    local_files_only: bool = False,
) -> Path:
    """Return the file of an address in the hub's cache; download it if the cache lacks it or has an older one.

    Arguments are those of `huggingface_hub.hf_hub_download`, which resumes a download that is cut off.

    Raises:
        CheckpointError: there is no such repository, revision or file, it may not be read, or it cannot be reached.
    """
    import huggingface_hub as hub

    wanted = {"repo_id": address.repository, "filename": address.file, "revision": address.revision}
    wanted["cache_dir"] = None if cache_dir is None else fspath(cache_dir)
    may_ask = not (local_files_only or hub.constants.HF_HUB_OFFLINE)
    if may_ask and not isinstance(hub.try_to_load_from_cache(**wanted), str) and (reason := unreachable()):
        raise CheckpointError(f"{address}: not in the cache, and the hub cannot be reached ({reason}). Connect first")
    with hub_errors(address, token):
        return Path(hub.hf_hub_download(**wanted, token=token, local_files_only=local_files_only))


def unreachable() -> str:
    """Return why the hub does not answer, after some seconds at most; an empty string if it does.

    Its own client tries for a minute or more.
    """
    from huggingface_hub import constants

    reasons = ["no answer"]

    def ask() -> None:
        try:
            with urllib.request.urlopen(constants.ENDPOINT, timeout=_PATIENCE):
                reasons.clear()
        except urllib.error.HTTPError:  # an answer
            reasons.clear()
        except (OSError, ValueError) as error:
            reasons[0] = str(getattr(error, "reason", error))

    asking = threading.Thread(target=ask, daemon=True)  # looking up a name has no timeout of its own
    asking.start()
    asking.join(_PATIENCE)
    return f"{constants.ENDPOINT}: {reasons[0]}" if reasons else ""


@contextmanager
def hub_errors(address: HubAddress, token: str | bool | None = None) -> Iterator[None]:
    """Turn what the hub's client raises within the block into a CheckpointError of one line, without the token."""
    try:
        yield
    except TeinetError:
        raise
    except Exception as error:  # of the hub, of the network under it, of the cache's disk
        reason = _reason(error)
        if isinstance(token, str) and token.strip():
            reason = reason.replace(token.strip(), "***")
        raise CheckpointError(f"{address}: {reason}") from None  # what lies below may hold the token


def _reason(error: BaseException) -> str:
    """Return in words why the hub's client failed, and what to do."""
    from huggingface_hub import errors

    if isinstance(error, errors.LocalEntryNotFoundError):  # raised in place of what made it look into the cache
        error = error.__cause__ or error
    if isinstance(error, (errors.LocalEntryNotFoundError, errors.OfflineModeIsEnabled)):
        how = "HF_HUB_OFFLINE or local_files_only is set"
        return f"not in the cache, and {how}; load it once with the network, or copy its file here"
    if isinstance(error, errors.GatedRepoError):
        return f"the repository is gated; ask for access on its page, then give a token that has it ({_TOKEN})"
    if isinstance(error, errors.RepositoryNotFoundError):
        return f"no such repository, or a private one, which needs a token that may read it ({_TOKEN})"
    if isinstance(error, errors.RevisionNotFoundError):
        return "the repository has no such revision (branch, tag or commit)"
    if isinstance(error, errors.EntryNotFoundError):
        return "the repository has no such file; another one is named as hf://user/name/FILE.safetensors"
    status = error.response.status_code if isinstance(error, errors.HfHubHTTPError) else None
    if status == 401 or isinstance(error, errors.LocalTokenNotFoundError):
        return f"the token is missing or not valid; log in again or correct it ({_TOKEN})"
    if status == 403:
        return f"the token does not allow this; give one with the right to it ({_TOKEN})"
    if isinstance(error, errors.HfHubHTTPError):
        said = error.server_message or error.response.reason_phrase
        return f"the hub answered {status} ({_first_line(said)}); try again later. {_COPY}"
    if isinstance(error, ValueError):  # of a card's metadata
        return " ".join(str(error).split())
    return f"no connection to the hub, or it was cut ({_first_line(error)}); try again. {_COPY}"


def _first_line(said: object) -> str:
    return next((line.strip() for line in str(said).splitlines() if line.strip()), type(said).__name__)
