"""The mirror image of a class, from its name: real data sets' names say what must come out."""

from __future__ import annotations

import csv

import pytest

from teinet.data.lists.labels import mirrored_labels
from teinet.errors import ConfigError

EXCHANGED = {
    "sthv1": [
        ("Pushing something from left to right", "Pushing something from right to left"),
        ("Pulling something from left to right", "Pulling something from right to left"),
        ("Turning the camera left while filming something", "Turning the camera right while filming something"),
    ],
    "jester": [
        ("Swiping Left", "Swiping Right"),
        ("Sliding Two Fingers Left", "Sliding Two Fingers Right"),
        ("Turning Hand Clockwise", "Turning Hand Counterclockwise"),
    ],
    "hmdb51": [],
    "ucf101": [],
    "kinetics400": [],
}
EXCHANGED["sthv2"] = EXCHANGED["sthv1"]


@pytest.mark.parametrize("data_set", EXCHANGED)
def test_names_of_real_data_sets(shared, data_set):
    # "pulling it right out" and "upright" of Something-Something are no directions
    names = (shared / "data" / "labels" / f"{data_set}.txt").read_text().strip().splitlines()
    images = mirrored_labels(names)
    pairs = {frozenset((names[i], names[j])) for i, j in enumerate(images) if i != j}
    assert pairs == {frozenset(pair) for pair in EXCHANGED[data_set]}
    assert all(images[images[i]] == i for i in range(len(names)))


def test_a_right_arm_mirrored_is_no_class(shared):
    names = sorted({row["label"] for row in csv.DictReader((shared / "data/utd_mhad_depth/clips.csv").open())})
    with pytest.raises(ConfigError, match=r"'baseball swing from right'.*train without mirror"):
        mirrored_labels(names)
    with pytest.raises(ConfigError, match=r"right arm swipe to the left.*left arm swipe to the right"):
        mirrored_labels([name for name in names if "arm" in name])


@pytest.mark.parametrize(
    "names",
    [
        ("swipe left", "swipe right"),
        ("Swipe_Left", "Swipe_Right"),
        ("SwipeLeft", "SwipeRight"),
        ("LEFT", "RIGHT"),
        ("moving leftwards", "moving rightwards"),
        ("turning clockwise", "turning anticlockwise"),
        ("draw circle (clockwise)", "draw circle (counter clockwise)"),
        ("draw_circle_clockwise", "draw_circle_counter_clockwise"),
        ("TurnClockwise", "TurnCounterClockwise"),
        ("clockwise", "anti-clockwise"),
        ("from left to right, clockwise", "from right to left, counterclockwise"),
    ],
)
def test_ways_to_write_a_pair(names):
    assert mirrored_labels(names) == [1, 0]
    assert mirrored_labels(["other", *names[::-1]]) == [0, 2, 1]


@pytest.mark.parametrize(
    "name", ["Bright light", "upright", "cleft", "pulling it right out", "left behind", "copyright"]
)
def test_names_that_only_look_like_directions(name):
    assert mirrored_labels([name, "other"]) == [0, 1]


def test_the_lone_half_of_a_pair_is_refused():
    for name in ("swipe left", "SwipeLeft", "turn clockwise"):
        with pytest.raises(ConfigError, match="is no class"):
            mirrored_labels([name, "other"])
