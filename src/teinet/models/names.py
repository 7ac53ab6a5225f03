"""Names of models, listed without importing torch: a temporal module's prefix and timm's name of the backbone."""

from __future__ import annotations

import fnmatch
import re
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path

from teinet.utils.text import natural

PREFIXES = {
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
WITHOUT_BRANCH = ("lcnet_*", "mobilenetv1_*", "mobileone_*", "repvgg_*", "test_efficientnet*")


def list_models(filter: str = "*") -> list[str]:
    """Return the model names that match `filter`, which may have wildcards (`"teinet_*resnet*"`).

    They combine every prefix with every timm network that insertion supports; `create_model` also takes tsn_ with any
    other timm network.
    """
    return fnmatch.filter((prefix + name for prefix in sorted(PREFIXES) for name in _backbones()), filter)


@lru_cache(maxsize=1)
def _backbones() -> tuple[str, ...]:
    """Return the names that timm registers, from its source, as importing it takes seconds."""
    spec = find_spec("timm")
    assert spec is not None and spec.submodule_search_locations, "timm is a dependency"
    folder = Path(spec.submodule_search_locations[0]) / "models"
    names: list[str] = []
    for module in TIMM_MODULES:
        text = (folder / f"{module}.py").read_text(encoding="utf-8")
        names += re.findall(r"^@register_model\s+def (\w+)", text, re.MULTILINE)
    kept = (n for n in names if not any(fnmatch.fnmatchcase(n, pattern) for pattern in WITHOUT_BRANCH))
    return tuple(sorted(kept, key=natural))
