"""What the recogniser of motion_pairs that comes with the library says of clips drawn a moment ago."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from teinet.data.lists.splits import DataConfig, load_splits
from teinet.data.motion_pairs import MotionPairs, draw
from teinet.evaluation.scores import percent
from teinet.models.header import pretrained_file
from teinet.recognition import Prediction, Recognizer

WEIGHTS = "motion_pairs"
CLIPS = MotionPairs(train=0, val=0, test=1, seed=7)  # one drawing of each pair of classes
_SHOWN = 4  # answers that are printed


@dataclass(frozen=True)
class FirstLook:
    """The answers to clips that no training saw, one of each class.

    Args:
        card: what the recogniser says of itself; see `models.header`.
        labels: the clips' true classes.
        predictions: its answers, in the same order.
        seconds: reading and recognising all of them took.
    """

    card: dict[str, str]
    labels: Sequence[str]
    predictions: Sequence[Prediction]
    seconds: float

    @property
    def right(self) -> int:
        """Clips named rightly."""
        return sum(answer.label == label for label, answer in zip(self.labels, self.predictions))


def first_look(folder: Path, console: Console) -> FirstLook | None:
    """Draw a clip of each class into `folder`, recognise all, and print some; None where the weights do not ship."""
    if pretrained_file(WEIGHTS) is None:
        return None
    console.print(f"[bold]1  A recogniser that comes with the library[/bold]: --weights {WEIGHTS}", soft_wrap=True)
    clips = load_splits(DataConfig(path=str(draw(folder, CLIPS) / "clips.csv")))["test"]
    recognizer = Recognizer.load(WEIGHTS)
    began = time.monotonic()
    predictions = list(recognizer.predict_many(clips.paths, top_k=1))
    look = FirstLook(
        card=recognizer.header["card"],
        labels=[clips.class_names[label] for label in clips.labels],
        predictions=predictions,
        seconds=time.monotonic() - began,
    )
    width = max(map(len, clips.class_names))
    for label, answer in list(zip(look.labels, predictions))[:_SHOWN]:
        name, score = answer.labels[0]
        console.print(f"  {label:<{width}}  is called {name} ({percent(score)})", highlight=False, soft_wrap=True)
    each = 1000 * look.seconds / len(look.labels)
    console.print(
        f"  {look.right} of {len(look.labels)} clips drawn just now are named rightly, {each:.0f} ms a clip\n",
        highlight=False,
        soft_wrap=True,
    )
    return look
