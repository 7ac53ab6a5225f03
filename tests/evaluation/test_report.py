"""What a person sees of a test: tables for a terminal and the confusion image."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image
from rich.console import Console

from teinet.evaluation.plots import save_confusion
from teinet.evaluation.scores import Scores, tables


def text(found) -> str:
    console = Console(file=io.StringIO(), width=120)
    for table in found:
        console.print(table)
    return console.file.getvalue()


def scores(**changes) -> Scores:
    values = {
        "paths": ["a.mp4", "b.mp4", "c.mp4", "d.mp4"],
        "labels": [0, 0, 1, 1],
        "probabilities": [[0.9, 0.1], [0.2, 0.8], [0.1, 0.9], [0.2, 0.8]],
        "class_names": ["Pushing [something]", "[red]Pulling"],
    }
    return Scores(**(values | changes))


def test_classes_come_worst_first_with_their_names_unharmed():
    shown = text(tables(scores()))
    assert shown.index("Pushing [something]") < shown.index("[red]Pulling")
    assert "75.0 %" in shown


def test_the_accuracies_come_first():
    first = [line.split()[0] for line in text(tables(scores())).splitlines() if line.strip()]
    assert first[:5] == ["test", "top-1", "mean", "clips", "classes"]


def test_unreadable_clips_are_counted_and_named():
    shown = text(tables(scores(reasons=["", "file is cut off", "", ""])))
    assert all(said in shown for said in ("4, 1 unreadable (counted as wrong)", "b.mp4", "file is cut off"))
    assert "b.mp4" not in text(tables(scores()))


def test_a_perfect_network_has_no_confusions_to_show():
    perfect = scores(probabilities=np.eye(2)[[0, 0, 1, 1]])
    assert "confusions" in text(tables(scores())) and "confusions" not in text(tables(perfect))


def test_a_test_without_any_labeled_or_readable_clip_still_reports():
    assert "top-1" in text(tables(scores(labels=[-1] * 4)))
    assert "4, 4 unreadable (counted as wrong)" in text(tables(scores(reasons=["bad"] * 4)))


@pytest.mark.parametrize("count", [1, 150])
def test_the_image_is_dark_on_the_diagonal_of_a_perfect_network(tmp_path, count):
    names = [f"class $_{i}$" for i in range(count)]  # matplotlib reads dollars as formulas
    path = tmp_path / "confusion.png"
    save_confusion(np.eye(count, dtype=int) * 3, names, path)
    image = np.asarray(Image.open(path).convert("L")).astype(int)
    assert 300 < image.shape[0] < 2500 and 300 < image.shape[1] < 2500
    dark = (image < 70).mean()
    save_confusion(np.zeros((count, count), dtype=int), names, path)  # no clips: nothing dark but the letters
    empty = (np.asarray(Image.open(path).convert("L")) < 70).mean()
    assert dark > empty + 0.2 / count
