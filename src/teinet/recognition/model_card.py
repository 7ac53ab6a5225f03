"""The model card of a recognizer: README.md for a repository of the Hugging Face Hub, from the header of its file."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from teinet.utils.text import printable

if TYPE_CHECKING:
    from teinet.recognition.recognizer import Recognizer

# The hub's names of licenses that are common for weights; others are "other" and a name.
_LICENSES = frozenset(
    "apache-2.0 mit bsd-2-clause bsd-3-clause cc0-1.0 cc-by-4.0 cc-by-sa-4.0 cc-by-nd-4.0 cc-by-nc-4.0 cc-by-nc-sa-4.0 "
    "cc-by-nc-nd-4.0 gpl-3.0 lgpl-3.0 agpl-3.0 mpl-2.0 unlicense openrail".split()
)
_METRICS = {"top1": "top-1 accuracy", "top5": "top-5 accuracy", "map": "mean average precision"}
_SPLITS = {"val": "validation", "test": "test", "folds": "left-out (by folds)", "": "held-out"}
_MARKS = re.compile(r"([\\`*_\[\]<>|#])")  # of Markdown and HTML
_UNKNOWN = "Not stated."

_CARD = """\
---
{metadata}
---

# {title}

A recognizer of actions in video: {network}, which looks at {frames} frames of {size} pixels of a clip and names
{chosen} of {count} classes.

## Use

```bash
pip install teinet
```

```python
from teinet import Recognizer

recognizer = Recognizer.from_pretrained("{repository}")
print(recognizer("clip.mp4").labels)  # classes with their scores, the best first
```

In a terminal: `teinet predict hf://{repository} clip.mp4`.

## Classes

{classes}

## Accuracy

{figures}

## Limits

{limits}

## Training data

{data}

## License

{license}
"""


def model_card(recognizer: Recognizer, repository: str = "") -> str:
    """Return the card of a recognizer: metadata in YAML, and text.

    Args:
        repository: user/name, for the examples; "" writes a placeholder.
    """
    header = recognizer.header
    card = header.get("card") or {}
    name = repository.partition("/")[2] or "teinet-recognizer"
    height, width = recognizer.preprocessing.shape
    network = (header.get("architecture") or recognizer.model.config or {}).get("name", "a network")
    background = recognizer.background
    classes = [_plain(label) + (" (background)" if label in background else "") for label in recognizer.class_names]
    figures = [_plain(card["figures"])] if card.get("figures") else []
    figures += [f"Measured: {name} {100 * share:.1f} % on the {split} clips." for split, name, share in _scores(header)]
    limits = f"{_UNKNOWN} Test it on clips of the cameras and places that it is to be used with."
    if card.get("not_for"):
        limits = f"Not for {_plain(card['not_for'])}."
    return _CARD.format(
        metadata=_metadata(header, network, name),
        title=_plain(card.get("title") or name),
        network=network,
        frames=recognizer.num_frames,
        size=f"{height}x{width}",
        count=len(classes),
        chosen="any number" if header.get("multi_label") else "one",
        repository=repository or "user/name",
        classes=", ".join(classes),
        figures="\n\n".join(figures) or _UNKNOWN,
        limits=limits,
        data=_plain(card.get("data")) or _data(header),
        license=_plain(header.get("license")) or _UNKNOWN,
    )


def _metadata(header: Mapping[str, Any], network: str, name: str) -> str:
    """Return the metadata that the hub reads, as YAML."""
    from huggingface_hub import EvalResult, ModelCardData

    results = [
        EvalResult(
            task_type="video-classification",
            dataset_type="custom",
            dataset_name=f"{split} clips",
            metric_type="accuracy" if metric != _METRICS["map"] else "map",
            metric_name=metric,
            metric_value=value,
        )
        for split, metric, value in _scores(header)
    ]
    text = (header.get("license") or "").lower()
    known = text in _LICENSES
    return ModelCardData(
        library_name="teinet",
        pipeline_tag="video-classification",
        tags=["teinet", "action-recognition", network],
        license=(text if known else "other") if text else None,
        license_name=None if known or not text else re.sub(r"[^a-z0-9.]+", "-", text).strip("-")[:60],
        model_name=name,
        eval_results=results or None,
    ).to_yaml()


def _scores(header: Mapping[str, Any]) -> list[tuple[str, str, float]]:
    """Return the split, metric and value, from 0 to 1, of the accuracies in a header."""
    found = []
    for key, value in (header.get("scores") or {}).items():
        split, _, metric = str(key).rpartition("_")
        if metric in _METRICS and split in _SPLITS and isinstance(value, (int, float)) and 0 <= value <= 1:
            found.append((_SPLITS[split], _METRICS[metric], round(float(value), 6)))
    return found


def _data(header: Mapping[str, Any]) -> str:
    """Return the numbers of clips in words."""
    splits = [(split, known) for split, known in (header.get("data") or {}).items() if isinstance(known, dict)]
    words = ", ".join(
        f"{known['clips']} {_SPLITS.get(split, split)} clips" for split, known in splits if "clips" in known
    )
    return f"{words}; not described further." if words else _UNKNOWN


def _plain(text: object) -> str:
    """Return text in which Markdown and HTML mean nothing."""
    return _MARKS.sub(r"\\\1", printable(text or "")).strip()
