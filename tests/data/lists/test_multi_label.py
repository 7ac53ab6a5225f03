"""Lists whose clips have several labels, or none, with `data.multi_label`; without it they are refused as before."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from teinet.cli.main import main
from teinet.data.lists.formats import read_listing
from teinet.data.lists.labeling_tasks import write_cvat, write_label_studio
from teinet.data.lists.splits import DataConfig, Splits, load_splits, read_config
from teinet.data.lists.write_list import write_rows
from teinet.errors import AnnotationError
from tests import miniatures

CSV = "path,label\na.mp4,walk|wave\nb.mp4,\nc.mp4,walk\nd.mp4,nod\nd.mp4,wave\n"


def write(folder: Path, text: str, name: str = "clips.csv") -> Path:
    for clip in ("a", "b", "c", "d"):
        (folder / f"{clip}.mp4").touch()
    (folder / name).write_text(text)
    return folder / name


def load(path: Path, **settings) -> Splits:
    return load_splits(DataConfig(path=str(path), multi_label=True, **settings))


def classes(path: Path) -> dict[str, list[str]]:
    return {
        Path(row.path).stem: list(row.labels) for row in read_config(DataConfig(path=str(path), multi_label=True)).rows
    }


def test_labels_of_a_line_and_of_repeated_lines_add_up(tmp_path):
    path = write(tmp_path, CSV)
    assert classes(path) == {"a": ["walk", "wave"], "b": [], "c": ["walk"], "d": ["nod", "wave"]}
    clips = load(path, val_share=0.0)["train"]
    assert clips.class_names == ["nod", "walk", "wave"]
    assert clips.label_sets is not None and clips.label_sets.dtype == bool
    assert clips.label_sets.astype(int).tolist() == [[0, 1, 1], [0, 0, 0], [0, 1, 0], [1, 0, 1]]
    assert clips.labels.tolist() == [1, -1, 1, 0], "the first label, or -1"


def test_json_lines_have_lists(tmp_path):
    lines = [("a", ["walk", "wave"]), ("b", []), ("c", "walk"), ("d", ["nod", "wave", "nod"])]
    text = "\n".join(json.dumps({"path": f"{name}.mp4", "label": label}) for name, label in lines)
    assert classes(write(tmp_path, text, "clips.jsonl")) == classes(write(tmp_path, CSV))


@pytest.mark.parametrize("label", [["a|b"], ["a", ""], ["a", ["b"]], [True], "a||b", "|", {"a": 1}])
def test_a_label_that_cannot_be_read_is_named_with_its_line(label, tmp_path):
    text = f'{{"path": "a.mp4"}}\n{json.dumps({"path": "b.mp4", "label": label})}'
    with pytest.raises(AnnotationError, match="label") as error:
        load(write(tmp_path, text, "clips.jsonl"))
    assert error.value.line == 2


def test_spans_and_splits_are_clips_of_their_own(tmp_path):
    path = write(tmp_path, "path,label,start,end\na.mp4,walk,0,1\na.mp4,wave,0.0,1\na.mp4,nod,1,2\na.mp4,nod,,\n")
    rows = read_config(DataConfig(path=str(path), multi_label=True)).rows
    assert [(r.labels, r.start) for r in rows] == [(("walk", "wave"), 0), (("nod",), 1), (("nod",), None)]
    write(tmp_path, "path,label,split\na.mp4,walk,train\na.mp4,wave,val\n")
    assert {name: part.label_sets.tolist() for name, part in load(path).items()} == {
        "train": [[True, False]], "val": [[False, True]],
    }  # fmt: skip


def test_without_the_setting_nothing_changes(tmp_path):
    path = write(tmp_path, CSV.replace("b.mp4,\n", ""))
    clips = load_splits(DataConfig(path=str(path), val_share=0.0))["train"]
    assert clips.label_sets is None and clips.class_names == ["nod", "walk", "walk|wave", "wave"] and len(clips) == 4
    with pytest.raises(AnnotationError, match=r"line 2: .*several labels per clip need data.multi_label"):
        load_splits(DataConfig(path=str(write(tmp_path, "path,label\na.mp4,\"['x', 'y']\"\n"))))
    with pytest.raises(AnnotationError, match=r"line 3: .*has no label; training needs one"):
        load_splits(DataConfig(path=str(write(tmp_path, CSV))))


def test_the_fingerprint_knows_every_label(tmp_path):
    prints, hashes = set(), set()
    for labels in ("walk|wave", "walk", "", "wave|walk"):
        path = write(tmp_path, f"path,label\nc.mp4,walk|wave\na.mp4,{labels}\n")
        clips = load(path, val_share=0.0)["train"]
        prints.add(clips.fingerprint()["sha256"])
        hashes.add(clips.clip_hashes()[1])
    assert len(prints) == len(hashes) == 3, "the order in a line does not count"


def test_a_class_that_is_not_one_is_refused_wherever_it_stands(tmp_path):
    with pytest.raises(AnnotationError, match=r"line 2: label 'wave' is not one of the 2 classes"):
        load(write(tmp_path, CSV), classes=["walk", "nod"], val_share=0.0)


@pytest.mark.parametrize("parts", [{"folds": 4, "val_share": 0.0}, {"val_share": 0.25}])
def test_parts_hold_their_share_of_the_rarest_class(parts, tmp_path):
    lines = [f"{i}.mp4,{'common|rare' if i % 4 == 0 else 'common'}" for i in range(32)]
    path = write(tmp_path, "\n".join(["path,label", *lines]))
    (tmp_path / "0.mp4").touch()
    splits = load(path, **parts)
    held = splits["test" if "folds" in parts else "val"]
    assert len(held) == 8 and held.label_sets.sum(0).tolist() == [8, 2]


def test_folds_keep_groups_together(tmp_path):
    lines = [f"{i}.mp4,{'a|b' if i % 2 else ''},r{i // 4}" for i in range(32)]
    path = write(tmp_path, "\n".join(["path,label,recording", *lines]))
    (tmp_path / "0.mp4").touch()
    splits = load(path, folds=4, test_fold=1, group="recording", val_share=0.0)
    groups = {name: {int(Path(p).stem) // 4 for p in part.paths} for name, part in splits.items()}
    assert len(groups["test"]) == 2 and not groups["test"] & groups["train"]


def test_a_list_that_is_written_is_read_again(tmp_path):
    rows = read_config(DataConfig(path=str(write(tmp_path, CSV)), multi_label=True)).rows
    write_rows(tmp_path / "again.csv", rows)
    assert classes(tmp_path / "again.csv") == classes(tmp_path / "clips.csv")


def test_numbers_are_classes_of_a_trained_network(tmp_path):
    (tmp_path / "train.txt").write_text("a.mp4 0\na.mp4 2\nb.mp4 1\n")
    write(tmp_path, CSV)
    splits = load_splits(DataConfig(path=str(tmp_path / "train.txt"), multi_label=True, val_share=0.0), ["x", "y", "z"])
    assert splits["train"].label_sets.astype(int).tolist() == [[1, 0, 1], [0, 1, 0]]


def test_charades_are_videos_with_all_their_actions(tmp_path):
    actions = "c001 1.0 2.0;c000 0.0 5.0;c001 3.0 3.0"
    (tmp_path / "Charades_v1_train.csv").write_text(f"id,actions,length\nAB,{actions},9\nCD,,9\n")
    (tmp_path / "Charades_v1_classes.txt").write_text("c000 Holding some clothes\nc001 Putting clothes somewhere\n")
    (tmp_path / "AB.mp4").touch()
    clips = load(tmp_path, val_share=0.0)["train"]
    assert clips.label_sets.tolist() == [[True, True], [False, False]] and np.isnan(clips.starts).all()
    assert len(read_listing(tmp_path).rows) == 3, "without the setting, an action is a segment"


def test_ava_are_annotated_seconds(tmp_path):
    seen = ((902, 3, 0), (903, 3, 1), (902, 5, 0), (902, 3, 2))  # second, action, person
    lines = [f"x,{second:04d},0.1,0.1,0.5,0.5,{action},{person}" for second, action, person in seen]
    (tmp_path / "ava_val_v2.2.csv").write_text("\n".join(lines))
    rows = read_config(DataConfig(path=str(tmp_path), multi_label=True)).rows
    assert [(r.labels, r.start, r.end) for r in rows] == [(("3", "5"), 901.5, 902.5), (("3",), 902.5, 903.5)]


def test_choices_of_a_labeling_tool_add_up(tmp_path):
    miniatures.write(tmp_path / "a.mp4", 0)
    answer = {"result": [{"type": "choices", "value": {"choices": ["fight", "night"]}}]}
    tasks = [{"id": 1, "data": {"video": "a.mp4"}, "annotations": [answer]}]
    (tmp_path / "export.json").write_text(json.dumps(tasks))
    assert classes(tmp_path / "export.json") == {"a": ["fight", "night"]}


def test_the_data_commands_read_several_labels(clips, tmp_path, capsys):
    lines = [(f"{folder}/0.mp4", labels) for folder, labels in (("resting", []), ("moving left", ["moving", "left"]))]
    text = "\n".join(json.dumps({"path": str(clips / path), "label": labels}) for path, labels in lines)
    (tmp_path / "clips.jsonl").write_text(text)
    words = [str(tmp_path / "clips.jsonl"), "--multi-label"]
    assert main(["data", "inspect", *words, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["class_names"] == ["left", "moving"] and found["counts"] == {"": [1, 1]} and found["unlabeled"] == 1
    assert found["rows"][1]["label"] == "moving|left" and found["unknown"] == 0
    (tmp_path / "names.txt").write_text("moving\n")
    assert main(["data", "inspect", *words, "--labels", str(tmp_path / "names.txt")]) == AnnotationError.exit_code
    assert "label 'left' is not one of" in " ".join(capsys.readouterr().out.split())
    assert main(["data", "check", *words, "--output", str(tmp_path / "check.csv"), "--workers", "0"]) == 0
    for action, output in (("convert", "all.csv"), ("shrink", "small")):
        more = ["--workers", "0", "--short-side", "32"] if action == "shrink" else []
        assert main(["data", action, *words, *more, "--output", str(tmp_path / output)]) == 0
        assert "--multi-label true" in capsys.readouterr().out
    for written, names in (("all.csv", "all.labels.txt"), ("small/clips.csv", "small/labels.txt")):
        assert [row.labels for row in read_config(DataConfig(path=str(tmp_path / written), multi_label=True)).rows] == [
            (), ("moving", "left"),
        ]  # fmt: skip
        assert (tmp_path / names).read_text() == "left\nmoving\n"


def test_tasks_of_labeling_tools_have_every_label(tmp_path):
    miniatures.write(tmp_path / "a.mp4", 0)
    (tmp_path / "clips.csv").write_text("path,label,start,end\na.mp4,walk|wave,0,0.5\n")
    rows = read_config(DataConfig(path=str(tmp_path / "clips.csv"), multi_label=True)).rows
    write_label_studio([*rows, rows[0]._replace(start=None, end=None)], tmp_path / "tasks.json")
    ((spans, choices),) = [
        task["predictions"][0]["result"] for task in json.loads((tmp_path / "tasks.json").read_text())
    ]
    assert spans["value"]["timelinelabels"] == choices["value"]["choices"] == ["walk", "wave"]
    write_cvat(rows, tmp_path / "cvat")
    assert [row.label for row in read_listing(tmp_path / "cvat" / "a.xml").rows] == ["walk", "wave"]
