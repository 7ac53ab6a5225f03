"""Segments in longer videos, as labeling tools and data sets write them: the same ones from each format."""

from __future__ import annotations

import json
import os

import pytest

from teinet.cli.main import main
from teinet.data.lists.annotations import read_annotations
from teinet.data.lists.formats import read_listing
from teinet.errors import AnnotationError
from tests import miniatures

TOOLS = ("label_studio", "cvat", "via", "elan", "activitynet", "charades", "epic_kitchens")


def found(place) -> list[tuple[str, str | None, float | None, float | None]]:
    rows = read_listing(place).rows
    return [(os.path.basename(r.path).removeprefix("v_")[:-4], r.label, r.start, r.end) for r in rows]


@pytest.mark.parametrize("name", TOOLS)
def test_the_segments_that_were_labeled(name, tmp_path):
    got = found(miniatures.ALL[name](tmp_path))
    assert [each[:2] for each in got] == [each[:2] for each in miniatures.SEGMENTS]
    for (*_, start, end), (*_, first, last) in zip(got, miniatures.SEGMENTS):
        assert (start, end) == pytest.approx((first, last))


@pytest.mark.parametrize("name", ["elan", "label_studio", "charades"])
def test_they_are_the_truth_that_events_are_compared_with(name, tmp_path):
    one, two = read_annotations(miniatures.ALL[name](tmp_path))
    assert [(s.label, s.start, s.end) for s in one.segments] == [("wave", 0.5, 1.5), ("clap", 2.0, 3.0)]
    assert two.seconds == pytest.approx(4.0) and [s.label for s in two.segments] == ["clap", "nod"]


def test_ava_joins_seconds_in_a_row_of_all_persons(tmp_path):
    seen = ((902, 3, 0), (903, 3, 1), (906, 3, 0), (902, 5, 0), (910, 5, 2))  # second, action, person
    lines = [f"x,{second:04d},0.1,0.1,0.5,0.5,{action},{person}" for second, action, person in seen]
    (tmp_path / "ava_val_v2.2.csv").write_text("\n".join(lines))
    rows = read_listing(tmp_path).rows
    assert sorted((r.label, r.start, r.end, r.split) for r in rows) == [
        ("3", 901.5, 903.5, "val"), ("3", 905.5, 906.5, "val"), ("5", 901.5, 902.5, "val"), ("5", 909.5, 910.5, "val"),
    ]  # fmt: skip


def test_label_studio_has_other_kinds_of_labels_and_tasks_without_any(tmp_path):
    miniatures.write(tmp_path / "a b.mp4", 0)
    value = {"start": 0.25, "end": 0.75, "labels": ["speech"]}
    several, skipped = ({"type": "choices", "value": {"choices": names}} for names in (["fight", "night"], ["skipped"]))
    answers = [{"result": [several, {"type": "labels", "value": value}]}, {"was_cancelled": True, "result": [skipped]}]
    tasks = [
        {"id": 1, "data": {"video": "/data/local-files/?d=deep/a%20b.mp4"}, "annotations": answers},
        {"id": 2, "data": {"video": "s3://bucket/folder/gone.mp4"}, "annotations": []},
    ]  # fmt: skip
    (tmp_path / "export.json").write_text(json.dumps(tasks))
    assert found(tmp_path / "export.json") == [
        ("a b", "fight", None, None), ("a b", "night", None, None), ("a b", "speech", 0.25, 0.75),
        ("gone", None, None, None),
    ]  # fmt: skip


def test_cvat_counts_frames_from_the_tasks_first_one_and_in_its_steps(tmp_path):
    miniatures.write(tmp_path / "x.mp4", 0, length=40)
    boxes = "".join(f'<box frame="{f}" outside="{o}"/>' for f, o in ((2, 0), (5, 1), (7, 0), (8, 0)))
    task = "<task><start_frame>4</start_frame><frame_filter>step=2</frame_filter></task><source>x.mp4</source>"
    (tmp_path / "x.xml").write_text(
        f'<annotations><meta>{task}</meta><track id="0" label="wave">{boxes}</track></annotations>'
    )
    assert found(tmp_path) == [
        ("x", "wave", pytest.approx(0.8), pytest.approx(1.4)),
        ("x", "wave", pytest.approx(1.8), pytest.approx(2.2)),
    ]


@pytest.mark.parametrize(
    ("file", "text", "says"),
    [
        ("x.json", '[{"data": {"video": "a.mp4"}, "annotations": 3}]', "not a valid list of format label_studio"),
        ("x.json", '{"database": {"a": {"annotations": [{"segment": [3, 1], "label": "x"}]}}}', "0 <= start < end"),
        ("x.xml", "<annotations><track", "not a valid list of format cvat"),
        ("x.xml", "<annotations><track><box/></track></annotations>", "names no video"),
        ("x.eaf", "<ANNOTATION_DOCUMENT><HEADER/></ANNOTATION_DOCUMENT>", "names no video"),
        (
            "x.json",
            '[{"data": {"video": "a.mp4"}, "annotations": [{"result": [{"type": "choices", "value": '
            '{"choices": [{"a": 1}]}}]}]}]',
            "is no text",
        ),
        ("x.json", '{"database": {"a": {"annotations": [{"label": "x"}]}}}', "an entry has no 'segment'"),
        ("x.csv", "id,actions,length\na,c000 x 2,3\n", "not a valid list of format charades"),
        ("x.csv", "video_id,start_timestamp,stop_timestamp\na,0:x,1\n", "not a valid list of format epic_kitchens"),
    ],
)
def test_what_is_wrong_is_one_line_with_the_file(file, text, says, tmp_path):
    (tmp_path / file).write_text(text)
    with pytest.raises(AnnotationError, match=says) as error:
        read_listing(tmp_path / file)
    assert file in str(error.value) and "\n" not in str(error.value)


def test_frames_beyond_the_end_are_refused(tmp_path):
    miniatures.write(tmp_path / "a.mp4", 0, length=10)
    value = {"ranges": [{"start": 12, "end": 14}], "timelinelabels": ["wave"]}
    task = {"data": {"video": "a.mp4"}, "annotations": [{"result": [{"type": "timelinelabels", "value": value}]}]}
    (tmp_path / "x.json").write_text(json.dumps([task]))
    with pytest.raises(AnnotationError, match="it has 10 frames"):
        read_listing(tmp_path / "x.json")


@pytest.mark.parametrize("output", ["tasks.json", "cvat/"])
def test_segments_written_as_tasks_are_read_again(output, tmp_path, capsys):
    """Through the tool's own import and export, of which the readers read the second; here without the tool between."""
    place = miniatures.elan(tmp_path / "elan")
    written = tmp_path / output
    assert main(["data", "convert", str(place), "--output", f"{tmp_path}/{output}"]) == 0
    assert "2 " in capsys.readouterr().out
    if written.suffix == ".json":  # what a person accepts becomes an annotation
        tasks = json.loads(written.read_text())
        assert [task["predictions"][0]["model_version"] for task in tasks] == ["teinet", "teinet"]
        accepted = [{"id": i, "data": t["data"], "annotations": t["predictions"]} for i, t in enumerate(tasks)]
        written.write_text(json.dumps(accepted))
    rows = read_listing(written, root=place / "videos").rows
    got = sorted((os.path.basename(r.path)[:-4], r.start, r.end, r.label) for r in rows)
    want = sorted((name, start, end, label) for name, label, start, end in miniatures.SEGMENTS)
    assert [each[::3] for each in got] == [each[::3] for each in want]
    for each, other in zip(got, want):
        assert each[1:3] == pytest.approx(other[1:3])
    assert main(["data", "convert", str(place), "--output", f"{tmp_path}/{output}"]) == 2
    assert "--overwrite" in capsys.readouterr().err


def test_events_of_a_timeline_become_tasks_with_scores(tmp_path, capsys):
    path = miniatures.write(tmp_path / "long.mp4", 0, length=40)
    (tmp_path / "events.csv").write_text(
        f"path,start,end,label,score,peak\n{path},0.5,1.5,wave,0.8,0.9\n{path},2,3,clap,0.6,0.7\n"
    )
    assert main(["data", "convert", str(tmp_path / "events.csv"), "--output", str(tmp_path / "t.json")]) == 0
    (task,) = json.loads((tmp_path / "t.json").read_text())
    (prediction,) = task["predictions"]
    assert task["data"] == {"video": "long.mp4"} and prediction["score"] == pytest.approx(0.7)
    assert [each["value"]["ranges"] for each in prediction["result"]] == [
        [{"start": 6, "end": 15}],
        [{"start": 21, "end": 30}],
    ]
