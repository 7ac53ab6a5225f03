"""A list of any format, written as a csv and read back, means the same clips."""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from teinet.data.lists.formats import FORMATS, Listing, read_listing
from teinet.data.lists.labels import read_class_names
from teinet.data.lists.rows import Row
from teinet.data.lists.splits import DataConfig, read_config
from teinet.data.lists.write_list import convert, path_from, write_labels
from teinet.errors import ConfigError


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


def tree(root: Path, *names: str, text: dict[str, str] | None = None) -> None:
    for name, content in {**dict.fromkeys(names, ""), **(text or {})}.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(content, encoding="utf-8")


JESTER = {"jester-v1-labels.csv": "Swiping Left\nNo gesture\nDrumming Fingers\n"}
TEMPLATE = [
    {"id": "7", "label": "moving cup", "template": "Moving [something], slowly", "placeholders": ["cup"]},
    {"id": "8", "label": "x", "template": 'Putting "[something]" down', "placeholders": ["x"]},
]
SPANS = "path,label,start,end,split,who\na.mp4,x,0.1,0.30000000000000004,train,1\nb.mp4,,,,test,\n"
V2_LABELS = {'Putting "something" down': "0", "Moving something, slowly": "1"}
KINETICS = "label,youtube_id,time_start,time_end,split\narm wrestling,abc,1,11,train\nwaxing,def,0,10,train\n"
# By format: files that are there, lists with their text, options.
PLACES = {
    "folders": (["train/ä b/1.mp4", "train/clap, slow/1.avi", "test/ä b/2.webm", "val/clap, slow/3.mp4"], {}, {}),
    "table": ([], {"list.csv": SPANS}, {}),
    "jester": (
        [],
        {"jester-v1-train.csv": "1;No gesture\n2;Swiping Left\n", "jester-v1-test.csv": "3\n", **JESTER},
        {"picture_names": "{:05d}.jpg"},
    ),
    "something_v1": (
        [],
        {"something-something-v1-train.csv": "1;Moving [something]\n2;Putting it, then taking it\n"},
        {},
    ),
    "something_v2": (
        [],
        {
            "something-something-v2-train.json": json.dumps(TEMPLATE),
            "something-something-v2-test.json": '[{"id": "9"}]',
            "something-something-v2-labels.json": json.dumps(V2_LABELS),
        },
        {},
    ),
    "kinetics": (["train/arm wrestling/abc_000001_000011.mp4"], {"train.csv": KINETICS}, {}),
    "ucf101": (
        ["v_Wave_g01_c01.avi"],
        {
            "classInd.txt": "1 Wave\n2 Archery\n",
            "trainlist01.txt": "Wave/v_Wave_g01_c01.avi 1\nArchery/v_Archery_g01_c02.avi 2\n",
            "testlist01.txt": "Archery/v_Archery_g09_c01.avi\n",
        },
        {},
    ),
    "hmdb51": ([], {"wave_test_split1.txt": "a_b.avi 1\nc.avi 2\n", "clap_test_split1.txt": "d.avi 1\n"}, {}),
    "tsn": (
        [],
        {"train_videofolder.txt": "a/1 40 1\nb/2 30 0\n", "val_videofolder.txt": "c/3 20 2\n"},
        {"picture_names": "img_{:05d}.jpg"},
    ),
    "mmaction": ([], {"train.txt": "a/1.mp4 0\nb 2.mp4 1\n", "label_map.txt": "zebra\nape\n"}, {}),
    "slowfast": ([], {"train.csv": "a/1.mp4 0\nb/2.mp4 10\n"}, {}),
}


def test_every_format_has_its_place():
    assert set(PLACES) == set(FORMATS)


@pytest.mark.parametrize("absolute", [False, True])
@pytest.mark.parametrize("name", PLACES)
def test_round_trip(name, absolute, tmp_path):
    names, text, options = PLACES[name]
    place, out = tmp_path / "data set", tmp_path / "lists"
    out.mkdir()
    tree(place, *names, text=text)
    path = place / "list.csv" if name == "table" else place
    listing = read_config(DataConfig(path=str(path), format=name, **options))
    assert_same(listing, out, absolute=absolute)
    assert {p.name for p in out.iterdir()} == {"out.csv", "out.labels.txt"}
    paths = (out / "out.csv").read_text().splitlines()[1:]
    assert all(line.lstrip('"').startswith(str(tmp_path) if absolute else "../data set/") for line in paths)


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
    "names",
    [["b", "a"], ["1 apple", "2 pears"], ["0", "1"], ['["x"]', "y"], ["{", "}"], ["#1", "ü, ß"], ["a\nb", "c"]],
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
            written = path_from(str(path), folder)
            assert not os.path.isabs(written) and os.path.samefile(folder / written, path)
    assert path_from(str(home / "here" / "b.mp4"), home) == "here/b.mp4"  # a link below the list stays
    assert path_from("/a/b.mp4", Path("/c/d")) == "/a/b.mp4"  # nothing shared


def test_files_that_are_there_are_kept(tmp_path):
    tree(tmp_path, text={"list.csv": "path,label\na.mp4,x\n", "out.csv": "mine", "new.labels.txt": "mine"})
    listing = read_listing(tmp_path / "list.csv")
    for name, says in (
        ("out.csv", "is there already"),
        ("new.csv", r"new\.labels\.txt: is there already"),
        ("list.csv", "is the list that is read"),
        ("out.txt", r"must end in \.csv"),
    ):
        with pytest.raises(ConfigError, match=says):
            convert(listing, tmp_path / name)
    with pytest.raises(ConfigError, match="is the list that is read"):
        convert(listing, tmp_path / "list.csv", force=True)
    assert (tmp_path / "out.csv").read_text() == "mine" and not (tmp_path / "new.csv").exists()
    assert convert(listing, tmp_path / "out.csv", force=True).missing == 1
    assert (tmp_path / "out.csv").read_text() == "path,label\na.mp4,x\n"


def test_texts_that_a_csv_loses_are_refused_before_anything_is_written(tmp_path):
    odd = os.fsdecode(b"caf\xe9.mp4")
    for row, says in ((Row(f"{tmp_path}/ a.mp4"), "begins or ends with a space"), (Row(odd), "no text in UTF-8")):
        with pytest.raises(ConfigError, match=says):
            convert(Listing(format="table", source=tmp_path / "x.csv", rows=[row]), tmp_path / "out.csv")
    assert not list(tmp_path.iterdir())
