"""The image of learning curves: every run has its line, whatever it logged."""

from __future__ import annotations

import pytest

from teinet.evaluation.plots import SEVERAL, draw_curves, save_curves


def rows(epochs: int, *, every: int = 1, **changes) -> list[dict]:
    """As log.csv holds them: texts, and a validation's figures repeated until the next one."""
    log = []
    for epoch in range(1, epochs + 1):
        seen = epoch - epoch % every
        top1, loss = (f"{seen / 100}", f"{3 - seen / 100}") if seen else ("", "")
        row = {"epoch": str(epoch), "loss": f"{3 / epoch}", "top1": f"{epoch / 50}", "lr": f"{10 ** -(epoch // 5)}"}
        log.append({**row, "val_top1": top1, "val_loss": loss, **changes})
    return log


def points(axes, line: int = 0) -> list[tuple[float, float]]:
    return [(float(x), round(float(y), 6)) for x, y in axes.lines[line].get_xydata()]


def test_one_run_shows_training_next_to_validation():
    loss, top1, rate = draw_curves({"a": rows(3)}).axes
    assert points(loss, 0) == [(1, 3), (2, 1.5), (3, 1)] and points(loss, 1) == [(1, 2.99), (2, 2.98), (3, 2.97)]
    assert points(top1, 0) == [(1, 2), (2, 4), (3, 6)]  # per cent
    assert points(top1, 1) == [(1, 1), (2, 2), (3, 3)]
    assert [text.get_text() for text in top1.get_legend().get_texts()] == ["training", "validation"]
    assert points(rate) == [(1, 1), (2, 1), (3, 1)]


def test_a_validation_is_one_point_however_long_it_stands_in_the_log():
    figure = draw_curves({"a": rows(8, every=3), "b": rows(2)})
    assert points(figure.axes[2], 0) == [(3, 3), (6, 6)]


def test_twelve_runs_have_twelve_looks_and_names():
    names = [f"runs/an experiment with a long name, number {i:02}" for i in range(12)]
    figure = draw_curves({name: rows(5) for name in names})
    assert len(figure.axes) == len(SEVERAL) - 1, "all but mAP, which is of clips with several labels"
    for axes in figure.axes:
        assert len({(line.get_color(), str(line._dash_pattern)) for line in axes.lines}) == 12
    figure.canvas.draw()
    (legend,) = figure.legends
    texts = [text.get_text() for text in legend.get_texts()]
    assert len(set(texts)) == 12 and all(text.endswith(name[-9:]) for text, name in zip(texts, names))
    box, whole = legend.get_window_extent(), figure.bbox
    assert box.x0 >= 0 and box.x1 <= whole.width and box.y0 >= 0  # nothing of it is cut off
    assert all(box.y1 <= axes.get_tightbbox().y0 for axes in figure.axes)  # and it hides no curve


@pytest.mark.parametrize(
    "logs",
    [
        {},
        {"a": [], "b": rows(1)},
        {"_a $x^2$": rows(1), "$": rows(2, loss="nan", val_top1="", val_loss="inf")},
        {"a": [{"epoch": 1, "loss": 0.5}], "b": rows(2)},
    ],
)
def test_whatever_was_logged_is_a_image(logs, tmp_path):
    save_curves(logs, tmp_path / "curves.part", title="runs/a $x$")
    assert (tmp_path / "curves.part").read_bytes().startswith(b"\x89PNG")


def test_a_rate_that_falls_by_steps_is_drawn_by_its_powers():
    assert draw_curves({"a": rows(12)}).axes[2].get_yscale() == "log"  # 1, 0.1, 0.01
    assert draw_curves({"a": rows(12, lr="0")}).axes[2].get_yscale() == "linear"
    assert draw_curves({"a": [*rows(12), *rows(1, epoch="13", lr="4e-8")]}).axes[2].get_yscale() == "linear"
