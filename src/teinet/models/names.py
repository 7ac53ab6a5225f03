"""Names of models, listed without importing torch: a temporal module's prefix and timm's name of the backbone."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterator
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path

from teinet.errors import ConfigError, nearest
from teinet.models.systems.table import SYSTEMS
from teinet.utils.text import natural

PREFIXES = {
    "trn_": "none",  # with relations between frames in place of their average
    "teinet_": "tei",
    "se_tim_": "se_tim",
    "tsn_": "none",
    "tsm_": "tsm",
    "mem_": "mem",
    "tim_": "tim",
    "se_": "se",
}

# timm's modules whose networks are built from the blocks in `models.families`, and in them the names that are not.
TIMM_MODULES = (
    "byobnet", "convnext", "cspnet", "dla", "efficientnet", "hardcorenas", "hrnet", "inception_next", "mobilenetv3",
    "nfnet", "regnet", "repvit", "res2net", "resnest", "resnet", "resnetv2", "rexnet", "senet", "sknet", "starnet",
    "tresnet",
)  # fmt: skip
# Networks without a place for a temporal module, of the systems that TEINet is compared with.
FRAMES_ONLY = ("bninception", "inception_v3")
WITHOUT_BRANCH = ("lcnet_*", "mobilenetv1_*", "mobileone_*", "repvgg_*", "test_efficientnet*")


def list_models(filter: str = "*") -> list[str]:
    """Return the model names that match `filter`, which may have wildcards (`"teinet_*resnet*"`).

    They combine every prefix with every timm network that insertion supports, and name the systems that the paper
    compares TEINet with; `create_model` also takes tsn_ and trn_ with any other timm network.
    """
    return fnmatch.filter([*_combined(), *sorted(SYSTEMS, key=natural)], filter)


def usual_clip(name: str) -> tuple[int, int]:
    """Return the frames T and the size in pixels of a network's clips: a system's; else 8 and 224 (Inception 299)."""
    if name in SYSTEMS:
        return SYSTEMS[name].frames, SYSTEMS[name].size
    return 8, 299 if "inception_v3" in name else 224


def usual_stride(name: str) -> int:
    """Return the frames of a video from one of a system's clip to the next; 0 where they are spread over the video."""
    return SYSTEMS[name].stride if name in SYSTEMS else 0


def starts_from_trunk(name: str, trained: str) -> bool:
    """Return whether a system can start from a trained network that is its trunk."""
    return name in SYSTEMS and SYSTEMS[name].trunk == trained


def is_model(name: str) -> bool:
    """Return whether a word has the form of a model's name: a prefix, or one of the systems'."""
    return name in SYSTEMS or name.startswith(tuple(PREFIXES))


def _combined() -> Iterator[str]:
    for prefix in sorted(PREFIXES):
        yield from (prefix + name for name in _backbones())
        if prefix in ("tsn_", "trn_"):
            yield from (prefix + name for name in FRAMES_ONLY)


def prefix_of(name: str) -> str | None:
    """Return the longest prefix of a model's name, such as se_tim_; None if it has none."""
    return max((p for p in PREFIXES if name.startswith(p)), key=len, default=None)


def check_backbone(name: str) -> None:
    """Raise ConfigError for a model's name with a backbone that timm does not have; names without a prefix pass."""
    prefix = prefix_of(name)
    if prefix is not None and name not in SYSTEMS:
        backbone = name.removeprefix(prefix)
        if backbone.partition(".")[0] not in (*_timm_networks(), *FRAMES_ONLY):
            raise no_backbone(backbone)


def no_backbone(backbone: str) -> ConfigError:
    """Return the error for a backbone that timm does not have, with the nearest one."""
    known = _timm_networks()
    plain = backbone.partition(".")[0]
    own = any(plain.startswith(p) and plain.removeprefix(p) in known for p in PREFIXES)
    like = [backbone] if own else _systems_like(backbone)
    hint = f" As a whole name: --model {like[0]}" if like else nearest(backbone, known)
    return ConfigError(f"timm has no network {backbone!r}.{hint}")


def unknown_model(name: str) -> ConfigError:
    """Return the error for a model's name without a prefix, with the names that it may stand for."""
    like = networks_like(name)
    some = ", ".join(map(repr, like[:3])) + (f", ... (teinet models '{name}*')" if len(like) > 3 else "")
    hint = f" Did you mean {'one of ' if len(like) > 1 else ''}{some}?" if like else nearest(name, list_models())
    return ConfigError(f"unknown model {name!r}: names begin with one of {' '.join(PREFIXES)}.{hint}")


def networks_like(name: str) -> list[str]:
    """Return the models that a word may stand for: slowfast_... for slowfast, teinet_resnet18 for (tei_)resnet18."""
    known = (*_timm_networks(), *FRAMES_ONLY)
    if name.partition(".")[0] in known:
        return [f"teinet_{name}"]
    module, _, backbone = name.partition("_")
    own = [prefix + backbone for prefix, layer in PREFIXES.items() if module == layer]
    return own if own and backbone.partition(".")[0] in known else _systems_like(name)


def pattern_like(name: str) -> str | None:
    """Return the first of NAME*, *NAME and *NAME* that some models match; None if none does."""
    patterns = (f"{name}*", f"*{name}", f"*{name}*")
    return next((pattern for pattern in patterns if list_models(pattern)), None)


def _systems_like(name: str) -> list[str]:
    return fnmatch.filter(sorted(SYSTEMS, key=natural), f"{name.lower()}*") if len(name) > 1 else []


@lru_cache(maxsize=1)
def _backbones() -> tuple[str, ...]:
    """Return the timm networks that insertion supports."""
    names = _timm_networks(TIMM_MODULES)
    kept = (n for n in names if not any(fnmatch.fnmatchcase(n, pattern) for pattern in WITHOUT_BRANCH))
    return tuple(sorted(kept, key=natural))


@lru_cache(maxsize=2)
def _timm_networks(modules: tuple[str, ...] = ()) -> tuple[str, ...]:
    """Return the names that timm registers, in some modules or all, from its source: importing it takes seconds."""
    spec = find_spec("timm")
    assert spec is not None and spec.submodule_search_locations, "timm is a dependency"
    folder = Path(spec.submodule_search_locations[0]) / "models"
    files = [folder / f"{module}.py" for module in modules] or sorted(folder.glob("*.py"))
    texts = (file.read_text(encoding="utf-8") for file in files)
    return tuple(name for text in texts for name in re.findall(r"^@register_model\s+def (\w+)", text, re.MULTILINE))
