"""Ensembles: averages worked out by hand, classes matched by name, clips by path, and what cannot be averaged."""

from __future__ import annotations

import numpy as np
import pytest

from teinet.errors import ConfigError
from teinet.evaluation.ensemble import average
from teinet.evaluation.scores import Scores
from teinet.evaluation.submission import write_submission

PATHS = ("/a/x/1.mp4", "/a/x/2.mp4", "/a/y/3.mp4")
ONE = Scores(
    paths=PATHS,
    labels=[0, 1, 2],
    probabilities=[[0.6, 0.3, 0.1], [0.5, 0.4, 0.1], [0.2, 0.2, 0.6]],
    class_names=["wave", "clap", "nod"],
    names=["1", "2", "3"],
    meta={"views": "1x1"},
)
# the same clips on another disk and in another order, the classes in another order
TWO = Scores(
    paths=("/b/y/3.mp4", "/b/x/1.mp4", "/b/x/2.mp4"),
    labels=[0, 2, 1],
    probabilities=[[0.4, 0.4, 0.2], [0.0, 0.2, 0.8], [0.1, 0.8, 0.1]],
    class_names=["nod", "clap", "wave"],
    meta={"views": "1x1"},
)


def test_classes_by_name_and_clips_by_path():
    both = average([ONE, TWO])
    expected = [[0.7, 0.25, 0.05], [0.3, 0.6, 0.1], [0.2, 0.3, 0.5]]
    np.testing.assert_allclose(both.probabilities, expected, atol=1e-6)
    assert both.class_names == ONE.class_names and both.predictions.tolist() == [0, 1, 2]
    assert both.meta["views"] == "1x1" and [m["weight"] for m in both.meta["members"]] == [1, 1]


def test_weights():
    np.testing.assert_allclose(average([ONE, TWO], [3, 1]).probabilities[0], [0.65, 0.275, 0.075], atol=1e-6)
    np.testing.assert_allclose(average([ONE, TWO], [0, 2]).probabilities[0], [0.8, 0.2, 0.0], atol=1e-6)


def test_a_clip_that_one_could_not_read_has_no_scores():
    both = average([ONE, other(reasons=["", "cut off", ""])])
    assert both.reasons == ("cut off", "", "") and both.num_unreadable == 1 and both.top1 == pytest.approx(2 / 3)


def other(**changes) -> Scores:
    fields = ("paths", "labels", "probabilities", "class_names")
    return Scores(**({name: getattr(TWO, name) for name in fields} | changes))


@pytest.mark.parametrize(("scores", "says"), [
    (other(class_names=["nod", "clap", "jump"]), "only one has 'wave'"),
    (other(paths=("/b/y/3.mp4", "/b/x/1.mp4", "/b/x/4.mp4")), "two was not tested on x/2.mp4"),
    (other(paths=TWO.paths[:2], labels=[0, 2], probabilities=TWO.probabilities[:2]), "3 clips, two on 2"),
    (other(labels=[1, 2, 1]), "different labels"), (other(paths=("/b/1.mp4",) * 3), "different orders"),
])  # fmt: skip
def test_what_cannot_be_averaged(scores, says):
    with pytest.raises(ConfigError, match=says):
        average([ONE, scores], names=["one", "two"])


def test_a_submission_of_names_and_one_of_numbers(tmp_path):
    assert write_submission(ONE, tmp_path / "names.csv") == 3
    assert (tmp_path / "names.csv").read_text() == "1;wave\n2;wave\n3;nod\n"
    write_submission(ONE, tmp_path / "numbers.csv", form="numbers", class_names=["nod", "wave", "clap", "jump"])
    assert (tmp_path / "numbers.csv").read_text() == "1;1;2;0\n2;1;2;0\n3;0;1;2\n"
    with pytest.raises(ConfigError, match="'clap' that the data set lacks"):
        write_submission(ONE, tmp_path / "numbers.csv", class_names=["nod", "wave"])
    with pytest.raises(ConfigError, match="no ids"):
        write_submission(TWO, tmp_path / "names.csv")
