"""A study as its YAML file says it: which networks, on which folds, with which seeds; and the recipe of each cell."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml

from teinet.data.views import Views
from teinet.errors import ConfigError, nearest
from teinet.training import recipe_files
from teinet.training.recipe import Recipe

Settings = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One network on one fold with one seed."""

    network: str
    fold: str
    seed: int

    def __str__(self) -> str:
        return f"{self.network}/{self.fold}/{self.seed}"

    @property
    def slug(self) -> str:
        """The cell's name as a file's."""
        return "--".join(re.sub(r"[^\w+.]+", "-", part.lower()) for part in (self.network, self.fold, str(self.seed)))


@dataclass(frozen=True, kw_only=True)
class Study:
    """What is compared, and on what.

    Args:
        name: of the study, or of its file without the ending.
        title: one line that says what the study shows.
        recipe: a recipe's name or file (next to the study's), the same for all cells.
        data: a list of clips or a folder, below the folder that holds the data.
        networks: settings of the section `model` that override the recipe's, by the name that tables show. Trained
            `weights` to start from may be a file next to the study's (`../weights/a.safetensors`).
        folds: settings of the section `data`, by name: which clips train and which are tested.
        seeds: each cell is run once with each.
        reference: the network that the others are compared with, clip by clip.
        cluster: columns of the list; clips alike in them are drawn together when intervals are estimated.
        backwards: also test each network on clips played backwards.
        reversals: pairs of classes that are each other played backwards.
        settings: of any section, which override the recipe's, for all cells.
        fold_settings: likewise for the cells of one fold, by the fold's name: what was chosen on clips that the fold
            does not report (nested validation). It may name `views` too.
        views: how each test looks at a clip, clips x crops.
        address, file: where all this is said. What it leaves out stands in the study that `extends` names: another of
            the same file, or one in a file next to it, FILE or FILE#NAME.
        base: that study, whose cells count here too where they are the same.
    """

    name: str
    title: str
    recipe: str
    data: str
    networks: Mapping[str, Settings]
    folds: Mapping[str, Settings]
    seeds: tuple[int, ...] = (0,)
    reference: str = ""
    cluster: tuple[str, ...] = ()
    backwards: bool = False
    reversals: tuple[tuple[str, str], ...] = ()
    settings: Mapping[str, Settings] = field(default_factory=dict)
    fold_settings: Mapping[str, Settings] = field(default_factory=dict)
    views: Views = field(default_factory=Views)
    address: str = ""
    file: Path = Path()
    base: Study | None = None

    @classmethod
    def load_all(cls, address: str | Path) -> list[Study]:
        """Read the study of this address, or all of a file that holds several.

        Raises:
            ConfigError: see `load`.
        """
        studies = {} if "#" in str(address) else _yaml(Path(address)).get("studies", {})
        return [cls.load(f"{address}#{name}") for name in studies] if studies else [cls.load(address)]

    @classmethod
    def load(cls, address: str | Path) -> Study:
        """Read a study.

        Args:
            address: a file that holds one study, or FILE#NAME for one of those below a file's `studies`.

        Raises:
            ConfigError: the file is none, or a part of it is missing, unknown or of another kind.
        """
        path, _, name = str(address).partition("#")
        said, base = _read(str(address))
        path = Path(path)
        known = {f.name for f in fields(cls)} - {"name", "address", "file", "base"}
        if unknown := sorted(set(map(str, said)) - known):
            raise ConfigError(f"{path}: a study has no {unknown[0]!r}.{nearest(unknown[0], known)}")
        if missing := [key for key in ("title", "recipe", "data", "networks", "folds") if not said.get(key)]:
            raise ConfigError(f"{path}: a study needs {missing[0]!r}")
        for key in ("networks", "folds", "settings", "fold_settings"):
            value = said.get(key, {})
            if not isinstance(value, dict) or not all(isinstance(v, dict) for v in value.values()):
                raise ConfigError(f"{path}: {key} must hold names with settings below them")
        seeds = said.get("seeds", [0])
        if not isinstance(seeds, list) or not seeds or not all(isinstance(s, int) and s >= 0 for s in seeds):
            raise ConfigError(f"{path}: seeds is {seeds!r}; it must be a list of whole numbers, such as [0, 1]")
        names = {key: _named(said, key) for key in ("networks", "folds", "fold_settings")}
        for fold in names["fold_settings"]:
            if fold not in names["folds"]:
                raise ConfigError(
                    f"{path}: fold_settings {fold!r} is none of the folds.{nearest(fold, names['folds'])}"
                )
        try:
            views = Views.parse(said.get("views", "1x1"))
            for own in names["fold_settings"].values():
                Views.parse(own.get("views", "1x1"))
        except ConfigError as error:
            raise ConfigError(f"{path}: {error}") from None
        if said.get("reference") and said["reference"] not in said["networks"]:
            hint = nearest(str(said["reference"]), said["networks"])
            raise ConfigError(f"{path}: reference {said['reference']!r} is none of the networks.{hint}")
        tuples = {"seeds": tuple(seeds), "cluster": tuple(said.get("cluster", ()))}
        tuples["reversals"] = tuple((str(a), str(b)) for a, b in said.get("reversals", ()))
        return cls(
            name=name or path.stem,
            address=str(address),
            file=path,
            base=cls.load(base) if base else None,
            **{**said, **names, **tuples, "views": views},
        )

    def cells(self) -> Iterator[Cell]:
        """Every cell, in the order of work: a seed and a fold is done with all networks before the next begins."""
        for seed in self.seeds:
            for fold in self.folds:
                for network in self.networks:
                    yield Cell(network=network, fold=fold, seed=seed)

    def cell(self, name: str) -> Cell:
        """The cell NETWORK/FOLD/SEED.

        Raises:
            ConfigError: the study has none of this name.
        """
        found = {str(cell): cell for cell in self.cells()}
        if name not in found:
            raise ConfigError(f"{self.file} has no cell {name!r}.{nearest(name, found)}")
        return found[name]

    def same_in_base(self, cell: Cell, *, training: bool = False) -> Cell | None:
        """The cell of the study below that trains and tests the very same (or trains it), under whatever name."""
        base = self.base
        if base is None or cell.fold not in base.folds:
            return None
        if not training and (self.cluster, self.backwards) != (base.cluster, base.backwards):  # results hold these
            return None
        own = self.digest(cell, training=training)
        theirs = (replace(cell, network=network) for network in base.networks)
        return next((other for other in theirs if base.digest(other, training=training) == own), None)

    def recipe_of(self, cell: Cell, *, data_root: str | Path = ".", backbone_weights: str | None = None) -> Recipe:
        """All settings of a cell.

        Args:
            cell: one of the study's.
            data_root: the folder that `data` starts from.
            backbone_weights: a local file of 2-D weights, in place of those that timm loads; a network that begins from
                scratch takes none.

        Raises:
            ConfigError: a setting that does not exist or does not fit.
        """
        recipe = self._as_said(cell)
        start = self.file.parent / (recipe.model.weights or "")
        data = replace(recipe.data, path=str(Path(data_root) / self.data))
        model = replace(
            recipe.model,
            backbone_weights=(recipe.model.pretrained and backbone_weights) or recipe.model.backbone_weights,
            weights=str(start) if start.is_file() else recipe.model.weights,
        )
        return replace(recipe, data=data, model=model)

    def _as_said(self, cell: Cell) -> Recipe:
        """The recipe of a cell before files are looked for on this machine."""
        own_file = self.file.parent / self.recipe
        base = recipe_files.compose(own_file if own_file.is_file() else self.recipe)
        chosen = {
            section: value for section, value in self.fold_settings.get(cell.fold, {}).items() if section != "views"
        }
        own = {"model": self.networks[cell.network], "data": self.folds[cell.fold]}
        for layer in (self.settings, chosen, own):
            base = recipe_files.override(base, layer)
        recipe = _built(json.dumps(base), str(self.file))
        return replace(recipe, run=replace(recipe.run, seed=cell.seed))

    def views_of(self, cell: Cell) -> Views:
        """How a cell's test looks at a clip."""
        own = self.fold_settings.get(cell.fold, {})
        return Views.parse(own["views"]) if "views" in own else self.views

    def digest(self, cell: Cell, *, training: bool = False) -> str:
        """A hash of the settings that decide what a cell measures, or only what it learns; the machine's are left out.

        What stands at its default is left out too, so that a setting which is new to the library changes no hash.
        """
        recipe, default = asdict(self._as_said(cell)), asdict(Recipe())
        recipe["data"]["path"] = self.data
        decides = {
            section: {key: value for key, value in recipe[section].items() if value != default[section][key]}
            for section in ("data", "model", "clip", "optim")
        }
        views = self.views_of(cell)
        said = [decides, cell.seed] if training or views == Views() else [decides, cell.seed, str(views)]
        return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()[:16]


@lru_cache(1024)
def _built(base: str, source: str) -> Recipe:
    """The recipe of settings as JSON; a study's cells ask for the same ones again and again.

    Raises:
        ConfigError: a setting that does not exist, or a value of another kind; names `source`.
    """
    try:
        return Recipe.load(json.loads(base))
    except ConfigError as error:
        raise ConfigError(f"{source}: {error}") from None


def _named(said: Settings, key: str) -> dict[str, Settings]:
    return {str(name): value for name, value in said.get(key, {}).items()}


def _yaml(path: Path) -> Settings:
    try:
        said = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{path} cannot be read ({error.strerror})") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is no valid YAML: {error}") from None
    if not isinstance(said, dict):
        raise ConfigError(f"{path} is no study: it must hold title, recipe, data, networks and folds")
    return said


def _read(address: str, above: tuple[str, ...] = ()) -> tuple[Settings, str | None]:
    """What a study says with all that it extends, and the address of the study that it extends."""
    file, _, name = address.partition("#")
    path, said = Path(file), _yaml(Path(file))
    studies = said.get("studies", {})
    if name and name not in studies:
        raise ConfigError(f"{path} has no study {name!r}.{nearest(name, studies)}")
    said = dict(studies[name]) if name else said
    below = said.pop("extends", None)
    if below is None:
        return said, None
    base = f"{path}#{below}" if below in studies else str(path.parent / below)
    if base in (*above, address):
        raise ConfigError(f"{address} extends itself")
    return {**_read(base, (*above, address))[0], **said}, base
