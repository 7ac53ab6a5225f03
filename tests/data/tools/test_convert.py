"""A list of any format, written as a csv and read back, means the same clips."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from teinet.data.lists.formats import Listing, read_listing
from teinet.data.lists.labels import read_class_names
from teinet.data.lists.rows import Row
from teinet.data.lists.splits import DataConfig, read_config
from teinet.data.lists.write_list import convert, paths_from, write_labels
from teinet.errors import ConfigError
from tests import miniatures


def meaning(listing: Listing) -> list[tuple[object, ...]]:
    """What training takes from each row."""
    return [
        (os.path.realpath(r.path), r.label, r.split, r.start, r.end, r.name, {k: v for k, v in r.columns.items() if v})
        for r in listing.rows
    ]


def order(listing: Listing) -> list[str]:
    """Class names in the order of a network's outputs."""
    return listing.class_names or sorted({r.label for r in listing.rows if r.label is not None})


def assert_same(listing: Listing, folder: Path, **options: bool) -> None:
    done = convert(listing, folder / "out.csv", **options)
    back = read_config(DataConfig(path=str(done.list), labels=str(done.labels) if done.labels else None))
    assert back.format == "table" and meaning(back) == meaning(listing) and order(back) == order(listing)


@pytest.mark.parametrize("name", miniatures.ALL)
def test_round_trip(name, tmp_path):
    root = tmp_path / "data set"
    root.mkdir()
    listing = read_config(DataConfig(path=str(miniatures.ALL[name](root)), format=name))
    for absolute, beginning in ((False, "../data set/"), (True, str(tmp_path))):
        out = tmp_path / str(absolute)
        out.mkdir()
        assert_same(listing, out, absolute=absolute)
        assert {p.name for p in out.iterdir()} == {"out.csv", "out.labels.txt"}
        paths = (out / "out.csv").read_text().splitlines()[1:]
        assert all(line.lstrip('"').startswith(beginning) for line in paths)


TEXT = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=12).map(str.strip).filter(bool)
SECONDS = st.floats(0, 1e5, allow_nan=False)
ROWS = st.lists(
    st.builds(
        lambda path, label, split, span, name, who: Row(path, label, split, *span, name, columns={"who": who}),
        TEXT.filter(lambda t: "/" not in t and t not in (".", "..")),
        st.none() | TEXT,
        st.sampled_from(["", "train", "val", "test"]),
        st.none().map(lambda _: (None, None)) | st.tuples(SECONDS, SECONDS).filter(lambda s: s[0] < s[1]),
        st.just("") | TEXT,
        st.just("") | TEXT,
    ),
    min_size=1,
    max_size=6,
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(rows=ROWS, names=st.lists(TEXT, unique=True, max_size=4), ordered=st.booleans())
def test_whatever_rows_hold_comes_back(rows, names, ordered):
    with tempfile.TemporaryDirectory() as folder:
        rows = [row._replace(path=f"{folder}/{row.path}") for row in rows]
        labels = {row.label for row in rows if row.label is not None}
        classes = [*names, *sorted(labels - set(names), reverse=True)] if ordered else None
        listing = Listing(format="table", source=Path(folder) / "other.csv", rows=rows, class_names=classes or None)
        assert_same(listing, Path(folder))


@pytest.mark.parametrize(
    "names", [["b", "a"], ["1 apple", "2 pears"], ["0", "1"], ['["x"]', "y"], ["{", "}"], ["#1", "ü, ß"], ["a\nb", "c"]]
)
def test_class_names_come_back_in_their_order(names, tmp_path):
    write_labels(tmp_path / "names.txt", names)
    assert read_class_names(tmp_path / "names.txt") == names


def test_paths_through_links_lead_where_they_did(tmp_path):
    disk, home = tmp_path / "disk" / "deep", tmp_path / "home"
    disk.mkdir(parents=True)
    home.mkdir()
    (disk / "a.mp4").write_text("a")
    (home / "lists").symlink_to(disk)  # what lies above it is not home
    (home / "videos").mkdir()
    (home / "videos" / "b.mp4").write_text("b")
    (home / "here").symlink_to(home / "videos")
    for path in (home / "videos" / "b.mp4", disk / "a.mp4", home / "here" / "b.mp4"):
        for folder in (home / "lists", home, home / "here"):
            written = paths_from(folder)(str(path))
            assert not os.path.isabs(written) and os.path.samefile(folder / written, path)
    assert paths_from(home)(str(home / "here" / "b.mp4")) == "here/b.mp4"  # a link below the list stays
    assert paths_from(Path("/c/d"))("/a/b.mp4") == "/a/b.mp4"  # nothing shared


def test_files_that_are_there_are_kept(tmp_path):
    for name, text in (("list.csv", "path,label\na.mp4,x\n"), ("out.csv", "mine"), ("new.labels.txt", "mine")):
        (tmp_path / name).write_text(text)
    listing = read_listing(tmp_path / "list.csv")
    for name, says in (
        ("out.csv", "exists; --overwrite"),
        ("new.csv", r"new\.labels\.txt exists"),
        ("list.csv", "is the list being read"),
        ("out.txt", r"must end in \.csv"),
    ):
        with pytest.raises(ConfigError, match=says):
            convert(listing, tmp_path / name)
    with pytest.raises(ConfigError, match="is the list being read"):
        convert(listing, tmp_path / "list.csv", overwrite=True)
    assert (tmp_path / "out.csv").read_text() == "mine" and not (tmp_path / "new.csv").exists()
    assert convert(listing, tmp_path / "out.csv", overwrite=True).missing == 1
    assert (tmp_path / "out.csv").read_text() == "path,label\na.mp4,x\n"


def test_texts_that_a_csv_loses_are_refused_before_anything_is_written(tmp_path):
    odd = os.fsdecode(b"caf\xe9.mp4")
    for row, says in ((Row(f"{tmp_path}/ a.mp4"), "begins or ends with a space"), (Row(odd), "not valid UTF-8")):
        with pytest.raises(ConfigError, match=says):
            convert(Listing(format="table", source=tmp_path / "x.csv", rows=[row]), tmp_path / "out.csv")
    assert not list(tmp_path.iterdir())
