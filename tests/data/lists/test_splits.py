"""Division into training, validation and test clips: nothing in two of them, groups whole, everything used."""

from __future__ import annotations

import csv
import warnings
from collections import Counter
from pathlib import Path

import pytest

from teinet.data.lists.splits import DataConfig, load_splits
from teinet.errors import AnnotationError, ConfigError


def write(root: Path, rows: list[dict]) -> Path:
    """A csv of clips `0.mp4`, `1.mp4`, ... with these columns."""
    with (root / "clips.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, ["path", *rows[0]])
        writer.writeheader()
        writer.writerows({"path": f"{i}.mp4", **row} for i, row in enumerate(rows))
    (root / "0.mp4").touch()
    return root / "clips.csv"


@pytest.fixture
def listed(tmp_path) -> Path:
    """60 clips: three classes, 12 recordings of 5, 4 subjects."""
    return write(tmp_path, [{"label": "abc"[i % 3], "recording": f"r{i // 5}", "subject": i % 4} for i in range(60)])


def numbers(splits, split) -> set[int]:
    return {int(Path(p).stem) for p in splits[split].paths} if split in splits else set()


def divided(**settings) -> dict[str, set[int]]:
    splits = load_splits(DataConfig(**{k: str(v) if isinstance(v, Path) else v for k, v in settings.items()}))
    parts = {s: numbers(splits, s) for s in ("train", "val", "test")}
    assert sum(map(len, parts.values())) == len(set().union(*parts.values())), "a clip stands in two splits"
    return parts


def test_folds_cover_every_clip_once_and_never_divide_a_group(listed):
    tested = Counter()
    for fold in range(4):
        parts = divided(path=listed, folds=4, test_fold=fold, group="recording", val_share=0.2)
        recordings = [{n // 5 for n in part} for part in parts.values()]
        assert sum(map(len, recordings)) == 12, "a recording was divided"
        assert parts["val"] and set().union(*parts.values()) == set(range(60))
        tested.update(parts["test"])
    assert tested == Counter(range(60))


def test_folds_hold_their_share_of_each_class(listed):
    for fold in range(5):
        test = divided(path=listed, folds=5, test_fold=fold)["test"]
        assert Counter(n % 3 for n in test) == {0: 4, 1: 4, 2: 4}


def test_real_recordings_are_not_divided(shared):
    listed = shared / "data" / "fights" / "clips.csv"
    source = {row["path"]: row["source_video"] for row in csv.DictReader(listed.open())}
    splits = load_splits(DataConfig(path=str(listed), folds=5, group="source_video"))
    sources = [{source[str(Path(p).relative_to(listed.parent))] for p in splits[s].paths} for s in ("train", "test")]
    assert not sources[0] & sources[1] and 30 < len(splits["test"]) < 75  # a fifth of 238, as even as groups allow


def test_the_division_is_a_function_of_the_seed(listed):
    def once(seed: int) -> list:
        return [divided(path=listed, folds=3, seed=seed), divided(path=listed, seed=seed)]

    assert once(0) == once(0) and once(0) != once(1)


@pytest.mark.parametrize(("settings", "says"), [
    ({"folds": 1}, "at least 2"), ({"folds": 3, "test_fold": 3}, r"0 to 2"),
    ({"folds": 61}, "60 clips cannot be split"),
    ({"folds": 13, "group": "recording"}, "12 values of recording cannot be split"),
    ({"folds": 3, "group": "record"}, "no column 'record'"), ({"folds": 3, "test": "subject=1"}, "exclude each other"),
    ({"val_share": 0.7}, "must be 0 to 0.5"), ({"val_share": -0.1}, "must be 0 to 0.5"),
    ({"train": "subject=1,2", "test": "subject=2"}, "both train and test"), ({"test": "subject=9"}, "has no value '9'"),
])  # fmt: skip
def test_divisions_that_cannot_be_made(listed, settings, says):
    with pytest.raises(ConfigError, match=says):
        divided(path=listed, **settings)


def test_a_class_with_fewer_clips_than_folds_is_no_reason_to_warn(tmp_path):
    listed = write(tmp_path, [{"label": "rare" if i < 2 else "common"} for i in range(20)])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert len(divided(path=listed, folds=5)["test"]) == 4


def test_selections_leave_the_rest_for_training(listed):
    parts = divided(path=listed, test="subject=1,3", val="subject=2")
    assert {n % 4 for n in parts["train"]} == {0} and {n % 4 for n in parts["val"]} == {2}
    assert {n % 4 for n in parts["test"]} == {1, 3}
    parts = divided(path=listed, train="subject=0", test="subject=1")
    assert len(parts["train"]) == len(parts["test"]) == 15 and not parts["val"]


@pytest.mark.parametrize("share", [0.1, 0.25, 0.5])
def test_val_share_takes_its_share_of_each_class(listed, share):
    val = divided(path=listed, val_share=share)["val"]
    assert set(Counter(n % 3 for n in val).values()) == {round(20 * share)}


def test_a_class_of_one_clip_stays_in_training(tmp_path):
    listed = write(tmp_path, [{"label": "rare"}] + [{"label": "common"}] * 9)
    assert 0 in divided(path=listed)["train"] and len(divided(path=listed)["val"]) == 2


def test_a_fifth_is_held_out_where_nothing_is_named(listed):
    assert len(divided(path=listed)["val"]) == 12
    assert not divided(path=listed, test="subject=1")["val"]
    assert not divided(path=listed, val_share=0)["val"]


def test_a_split_column(tmp_path):
    words = ["train", "Training", "val", "valid", "validation", "test", "testing", "train"]
    listed = write(tmp_path, [{"label": "a", "split": word} for word in words])
    assert divided(path=listed) == {"train": {0, 1, 7}, "val": {2, 3, 4}, "test": {5, 6}}
    listed = write(tmp_path, [{"label": "a", "split": word} for word in ("train", "dev")])
    with pytest.raises(AnnotationError, match=r"line 3: split 'dev'"):
        divided(path=listed)


def test_all_splits_share_one_list_of_classes(tmp_path):
    listed = write(tmp_path, [{"label": x, "split": s} for x, s in (("b", "train"), ("c", "train"), ("a", "test"))])
    splits = load_splits(DataConfig(path=str(listed)))
    assert splits["train"].class_names == splits["test"].class_names == ["a", "b", "c"]
    assert splits["train"].labels.tolist() == [1, 2] and splits["test"].labels.tolist() == [0]


def test_copies_of_a_clip_in_two_splits_are_said_once(tmp_path, caplog):
    for name, content in (("train/a/1", b"one"), ("train/a/2", b"two"), ("val/a/x", b"one"), ("val/b/y", b"six")):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / f"{name}.mp4").write_bytes(content)
    load_splits(DataConfig(path=str(tmp_path)))
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "1 files have copies both in train and in val" in caplog.text
    assert f"{tmp_path}/train/a/1.mp4 and {tmp_path}/val/a/x.mp4" in caplog.text


@pytest.mark.parametrize(("labels", "said"), [
    (("fight,outdoor", "fight"), "1 label looks like several ('fight,outdoor')"),
    (("fight|outdoor", "talk;indoor"), "2 labels look like several"),
    (("running, fast", "running"), "1 label looks"),
    (("onto a slope, so it slides", "onto a slope, so it stays"), ""), (("1,000 meters", "a"), ""),
])  # fmt: skip
def test_several_labels_in_one_are_said(tmp_path, caplog, labels, said):
    load_splits(DataConfig(path=str(write(tmp_path, [{"label": label} for label in labels * 3]))))
    assert caplog.text.count("like several") == bool(said) and said in caplog.text
