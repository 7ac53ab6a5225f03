"""Class names from the files that data sets and their users have; what is wrong is named with its line."""

from __future__ import annotations

import pytest

from teinet.data.lists.labels import read_class_names
from teinet.errors import AnnotationError


@pytest.fixture
def write(tmp_path):
    def write(content, name="labels.txt"):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return write


@pytest.mark.parametrize(
    ("content", "names"),
    [
        ("wave\nclap\n", ["wave", "clap"]),
        ("wave hands\r\nclap\r\n\r\n", ["wave hands", "clap"]),
        ("\ufeffcafé\n  walk  ", ["café", "walk"]),
        ("1 ApplyEyeMakeup\n2 ApplyLipstick\n3 Archery\n", ["ApplyEyeMakeup", "ApplyLipstick", "Archery"]),
        ("0 a\n1 b b\n", ["a", "b b"]),
        ("2\tb\n3\tc\n1\ta\n", ["a", "b", "c"]),
        ("3 fingers\nfist\n", ["3 fingers", "fist"]),
        ("[Something] falling like a rock\nPushing [something]\n", None),
        ('["b", "a"]', ["b", "a"]),
        ('["2 fingers", "3 fingers"]', ["2 fingers", "3 fingers"]),
        ('{"b": "1", "a": "0"}', ["a", "b"]),
        ('{"b": 2, "a": 1}', ["a", "b"]),
    ],
)
def test_each_form_gives_the_names_in_order(write, content, names):
    assert read_class_names(write(content)) == (names or content.strip().split("\n"))


@pytest.mark.parametrize(
    ("content", "line", "says"),
    [
        ("a\nb\na\n", 3, "'a' stands here a second time (first in line 1)"),
        ("1 a\n2 a\n", 2, "second time"),
        ("a\n\nb\n", 2, "empty"),
        ("", None, "no class names"),
        ("\n \n", None, "no class names"),
        ("[]", None, "no class names"),
        ("{}", None, "no class names"),
        ("1 a\n3 b\n", 2, "index 3 of 'b' is outside 1 to 2"),
        ("5 a\n6 b\n", 1, "index 5 of 'a' is outside 1 to 2"),
        ("0 a\n2 b\n", 2, "is outside 0 to 1"),
        ("1 a\n1 b\n", 2, "is given twice"),
        (b"a\nb\n\xe9t\xe9\n", 3, "UTF-8"),
        ("wave\n".encode("utf-16"), 1, "UTF-8"),
        ('["a", "a"]', None, "second time"),
        ('{"a": 0, "a": 1}', None, "second time"),
        ('{"a": 0, "b": 2}', None, "index 2 of 'b' is outside 0 to 1"),
        ('{"0": "a", "1": "b"}', None, "from name to index"),
        ('{"a": true}', None, "has the index True"),
        ('{"a": 0.5}', None, "has the index 0.5"),
        ('{"a": "' + "9" * 5000 + '"}', None, "from name to index"),
        ('{"a": ' + "9" * 5000 + "}", None, "JSON"),
        ('{" ": 0}', None, "holds ' '"),
        ('["a", 3]', None, "holds 3"),
        ('["a", ""]', None, "holds ''"),
        ('["a",\n "b"', 2, "looks like JSON and is none"),
        ("[" * 100000, None, None),
    ],
)
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
