"""Class names from the files that data sets and users have, what is wrong with its line; what a flip makes of them."""

from __future__ import annotations

import csv

import pytest

from teinet.data.lists.labels import flipped_labels, read_class_names
from teinet.errors import AnnotationError, ConfigError


@pytest.fixture
def write(tmp_path):
    def write(content, name="labels.txt"):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return write


@pytest.mark.parametrize(("content", "names"), [
    ("wave\nclap\n", ["wave", "clap"]), ("wave hands\r\nclap\r\n\r\n", ["wave hands", "clap"]),
    ("\ufeffcafé\n  walk  ", ["café", "walk"]),
    ("1 ApplyEyeMakeup\n2 ApplyLipstick\n3 Archery\n", ["ApplyEyeMakeup", "ApplyLipstick", "Archery"]),
    ("0 a\n1 b b\n", ["a", "b b"]), ("2\tb\n3\tc\n1\ta\n", ["a", "b", "c"]),
    ("3 fingers\nfist\n", ["3 fingers", "fist"]), ("[Something] falling like a rock\nPushing [something]\n", None),
    ('["b", "a"]', ["b", "a"]), ('["2 fingers", "3 fingers"]', ["2 fingers", "3 fingers"]),
    ('{"b": "1", "a": "0"}', ["a", "b"]), ('{"b": 2, "a": 1}', ["a", "b"]),
])  # fmt: skip
def test_each_form_gives_the_names_in_order(write, content, names):
    assert read_class_names(write(content)) == (names or content.strip().split("\n"))


@pytest.mark.parametrize(("content", "line", "says"), [
    ("a\nb\na\n", 3, "'a' is a duplicate (first in line 1)"), ("1 a\n2 a\n", 2, "duplicate"),
    ("a\n\nb\n", 2, "empty"), ("", None, "no class names"), ("\n \n", None, "no class names"),
    ("[]", None, "no class names"), ("{}", None, "no class names"),
    ("1 a\n3 b\n", 2, "index 3 of 'b' is outside 1 to 2"), ("5 a\n6 b\n", 1, "index 5 of 'a' is outside 1 to 2"),
    ("0 a\n2 b\n", 2, "is outside 0 to 1"), ("1 a\n1 b\n", 2, "is given twice"), (b"a\nb\n\xe9t\xe9\n", 3, "UTF-8"),
    ("wave\n".encode("utf-16"), 1, "UTF-8"), ('["a", "a"]', None, "duplicate"),
    ('{"a": 0, "a": 1}', None, "duplicate"), ('{"a": 0, "b": 2}', None, "index 2 of 'b' is outside 0 to 1"),
    ('{"0": "a", "1": "b"}', None, "from name to index"), ('{"a": true}', None, "has the index True"),
    ('{"a": 0.5}', None, "has the index 0.5"), ('{"a": "' + "9" * 5000 + '"}', None, "from name to index"),
    ('{"a": ' + "9" * 5000 + "}", None, "JSON"), ('{" ": 0}', None, "has ' '"), ('["a", 3]', None, "has 3"),
    ('["a", ""]', None, "has ''"), ('["a",\n "b"', 2, "is not valid JSON"), ("[" * 100000, None, None),
])  # fmt: skip
def test_what_is_wrong_is_named_with_its_line(write, content, line, says):
    if says is None:
        content, says = '["' + '", ["' * 100000, "JSON"
    path = write(content)
    with pytest.raises(AnnotationError) as caught:
        read_class_names(path)
    assert caught.value.line == line or says == "JSON"
    assert says in str(caught.value) and str(path) in str(caught.value) and "\n" not in str(caught.value)


def test_a_json_file_must_be_json(write):
    for content in ("wave\nclap\n", "3", '"wave"', "null"):
        with pytest.raises(AnnotationError, match="JSON"):
            read_class_names(write(content, "labels.json"))


def test_files_that_are_not_there(tmp_path):
    with pytest.raises(AnnotationError, match="no such file"):
        read_class_names(tmp_path / "absent.txt")
    with pytest.raises(AnnotationError, match="cannot be read"):
        read_class_names(tmp_path)


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
    **{name: [] for name in ("hmdb51", "ucf101", "kinetics400")},
}
EXCHANGED["sthv2"] = EXCHANGED["sthv1"]


@pytest.mark.parametrize("data_set", EXCHANGED)
def test_names_of_real_data_sets(shared, data_set):
    # "pulling it right out" and "upright" of Something-Something are no directions
    names = (shared / "data" / "labels" / f"{data_set}.txt").read_text().strip().splitlines()
    images = flipped_labels(names)
    pairs = {frozenset((names[i], names[j])) for i, j in enumerate(images) if i != j}
    assert pairs == {frozenset(pair) for pair in EXCHANGED[data_set]}
    assert all(images[images[i]] == i for i in range(len(names)))


def test_a_right_arm_mirrored_is_no_class(shared):
    names = sorted({row["label"] for row in csv.DictReader((shared / "data/utd_mhad_depth/clips.csv").open())})
    with pytest.raises(ConfigError, match=r"'baseball swing from right'.*train without hflip"):
        flipped_labels(names)
    with pytest.raises(ConfigError, match=r"right arm swipe to the left.*left arm swipe to the right"):
        flipped_labels([name for name in names if "arm" in name])


@pytest.mark.parametrize("names", [
    ("swipe left", "swipe right"), ("Swipe_Left", "Swipe_Right"), ("SwipeLeft", "SwipeRight"), ("LEFT", "RIGHT"),
    ("moving leftwards", "moving rightwards"), ("turning clockwise", "turning anticlockwise"),
    ("draw circle (clockwise)", "draw circle (counter clockwise)"),
    ("draw_circle_clockwise", "draw_circle_counter_clockwise"), ("TurnClockwise", "TurnCounterClockwise"),
    ("clockwise", "anti-clockwise"), ("from left to right, clockwise", "from right to left, counterclockwise"),
])  # fmt: skip
def test_ways_to_write_a_pair(names):
    assert flipped_labels(names) == [1, 0]
    assert flipped_labels(["other", *names[::-1]]) == [0, 2, 1]


def test_names_that_only_look_like_directions():
    for name in ("Bright light", "upright", "cleft", "pulling it right out", "left behind", "copyright"):
        assert flipped_labels([name, "other"]) == [0, 1], name


def test_the_lone_half_of_a_pair_is_refused():
    for name in ("swipe left", "SwipeLeft", "turn clockwise"):
        with pytest.raises(ConfigError, match="not a class; train without hflip"):
            flipped_labels([name, "other"])
