"""What a comparison says: means worked out by hand, published results from the recipes' own files, what differs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from teinet.errors import ConfigError
from teinet.report import compare
from teinet.report.runs import Remark
from tests.report.conftest import fingerprint, meta, recipe, write_log, write_metrics, write_run, write_scores

RECIPES = Path(__file__).parents[2] / "recipes"


def printed(row: str) -> list[dict]:
    """The rows of the paper's tables as they stand in the file."""
    name, _, row = row.partition("/")
    return yaml.safe_load((RECIPES / f"{name}.yaml").read_text())["rows"][row]["published"]


def test_each_test_has_the_published_rows_of_its_protocol(runs):
    write_run(runs / "a", tests={"1x1": (0.468, 0.759), "10x3": (0.49, 0.77)})
    one, ten = compare([runs / "a"]).runs[0].tests
    rows = printed("something_v1/teinet_8f")
    ours = {(r.table, r.row): (r.top1, r.top1_difference, r.top5_difference) for r in one.published}
    assert set(ours) == {(r["table"], r["row"]) for r in rows if r.get("views", "1x1") == "1x1" and "ensemble" not in r}
    assert ours["1a", "Res50+MEM+TIM"] == (47.4, pytest.approx(46.8 - 47.4), pytest.approx(75.9 - 76.6))
    assert ours["3", "TEINet-RGB 8f"] == (47.4, pytest.approx(-0.6), None)  # no top-5 is printed there
    (row,) = ten.published
    assert (row.row, row.top1) == ("TEINet-RGB 8f x 10", 48.8)
    assert row.top1_difference == pytest.approx(0.2)


def test_a_test_of_training_clips_stands_next_to_nothing(runs):
    write_run(runs / "a")
    write_metrics(runs / "a" / "test-1x1-train", 0.9, **meta(split="train"))
    assert compare([runs / "a"]).runs[0].tests[0].published == []


def test_an_ensemble_stands_next_to_the_ensembles_row(runs):
    members = []
    for row, gmacs in (("teinet_8f", 33.0), ("teinet_16f", 66.0)):
        facts = meta(f"something_v1/{row}", network=row, gmacs=gmacs)
        members.append({"name": f"runs/{row[-3:]}", "weight": 1, "top1": 0.5, **facts})
    write_metrics(runs / "together", 0.52, views="1x1", split="val", averaging="probabilities", members=members)
    (run,) = compare([runs / "together"]).runs
    (outcome,) = run.tests
    assert not run.trained and outcome.members == ["_8f", "16f"] and run.network == "teinet_8f + teinet_16f"
    assert outcome.gmacs == 99 and outcome.parameters == 2 * 30356896
    (ours,) = outcome.published
    (row,) = [r for r in printed("something_v1/teinet_8f") if r.get("ensemble")]
    assert ours.row == row["row"] and ours.top1_difference == pytest.approx(52 - row["top1"])


def test_seeds_of_one_recipe_have_a_mean_and_a_deviation(runs):
    for seed, top1 in enumerate((0.46, 0.48, 0.50)):
        write_run(runs / f"a-{seed}", recipe(run__seed=seed), tests={"1x1": (top1, 0.75)})
    write_run(runs / "b", recipe(optim__lr=0.02), tests={"1x1": (0.1, 0.2)})
    (group,) = compare([runs]).groups
    assert group.runs == ["a-0", "a-1", "a-2"] and group.varied == {"run.seed": [0, 1, 2]} and not group.notes
    (mean,) = group.means
    found = (mean.top1.mean, mean.top1.deviation, mean.top1.n)
    assert found == (pytest.approx(0.48), pytest.approx(0.02), 3)  # deviations -2, 0, 2: root of 8 / (3 - 1)
    assert (mean.top5.mean, mean.top5.deviation) == (pytest.approx(0.75), pytest.approx(0))
    assert mean.published[0].top1_difference == pytest.approx(48 - 47.4)


def test_divisions_and_folds_are_repeats_and_other_settings_are_none(runs):
    for split, top1 in ((1, 0.96), (2, 0.97)):
        settings = recipe("ucf101/teinet_16f", data__official_split=split, run__output=f"/{split}")
        data = {"train": fingerprint(split)}
        write_run(runs / f"ucf-split{split}", settings, data=data, tests={"10x3": (top1, None)})
    comparison = compare([runs])
    (group,) = comparison.groups
    assert group.varied == {"data.official_split": [1, 2]}
    assert group.means[0].published[0].top1_difference == pytest.approx(96.5 - printed("ucf101/teinet_16f")[0]["top1"])
    assert not any("trained on different clips" in note for note in comparison.notes)  # so are official splits
    other = recipe("ucf101/teinet_16f", data__official_split=3, run__workers=7)
    write_run(runs / "other", other, tests={"10x3": (0.9, None)})
    assert len(compare([runs]).groups[0].runs) == 2


def test_what_a_mean_is_worth_less_for_is_said(runs):
    write_run(runs / "a", tests={"1x1": (0.46, 0.7)})
    write_run(runs / "b", tests={"1x1": (0.48, 0.7)})
    write_run(runs / "c", recipe(run__seed=1), finished=None, tests={"1x1": (0.4, 0.7)})
    write_run(runs / "d", recipe(run__seed=2))
    notes = "\n".join(compare([runs]).groups[0].notes)
    assert "unfinished runs: c" in notes and "not in the mean: d" in notes


def test_only_the_settings_that_differ_are_listed(runs):
    write_run(runs / "a", recipe(optim__lr=0.02))
    old = recipe("something_v1/tsm_8f")
    del old["run"]["tests"]  # an older version's recipe, without a setting that has its default in the other
    write_run(runs / "b", old)
    assert compare([runs]).settings == {
        "model.name": {"a": "teinet_resnet50.tv_in1k", "b": "tsm_resnet50.tv_in1k"},
        "optim.lr": {"a": 0.02, "b": 0.01},
        "row": {"a": "something_v1/teinet_8f", "b": "something_v1/tsm_8f"},
    }


def test_other_clips_versions_and_decoders_are_said(runs):
    write_run(runs / "a", tests={"1x1": (0.4, 0.7)})
    write_run(runs / "b", data={"train": fingerprint("others", 90)}, versions={"teinet": "0.2"}, decoder={}, tests={})
    write_metrics(runs / "b" / "test-1x1", 0.5, 0.7, **meta(data=fingerprint("others")))
    notes = compare([runs]).notes
    said = [note.split(":")[0] for note in notes]
    assert said == ["trained on different clips", "test-1x1", "different versions of teinet"]
    assert "90 (" in notes[0] and "not comparable" in notes[1]


def test_scores_of_other_weights_are_said(runs):
    run = write_run(runs / "a", tests={"1x1": (0.4, 0.7)})
    assert not compare([run]).runs[0].warnings
    (run / "last.safetensors").write_bytes(b"trained on")
    assert ["has changed since" in w.text for w in compare([run]).runs[0].warnings] == [True]
    write_metrics(run / "test-1x1", 0.5, 0.7, **meta(weights="elsewhere/a/best.safetensors"))
    (warning,) = compare([run]).runs[0].warnings
    assert "best.safetensors, not of last.safetensors" in warning.text


def test_unfinished_and_untested_runs_are_shown_as_such(runs):
    run = write_run(runs / "a", finished=None, epochs=3, missing=1)
    (run / "unreadable.csv").write_text("path,reason\nx.mp4,cut off\ny.mp4,cut off\n")
    (run / "damaged.csv").write_text("path,damage\nz.mp4,1 of 20 frames cannot be decoded whole\n")
    write_run(runs / "b")
    first, second = compare([runs]).runs
    assert [w.text for w in first.warnings] == [
        "unfinished, 3 of 50 epochs",
        "not tested",
        "2 clips could not be read in training or validation (unreadable.csv)",
        "1 damaged file used in training or validation (damaged.csv)",
        "1 clip missing and left out (missing.csv)",
    ]
    assert first.warnings[0].command == f"teinet train --resume {run}"
    assert second.warnings == [Remark("not tested", f"teinet test {runs / 'b'}")]


def test_clips_that_a_test_could_not_read_or_read_in_part_are_said(runs):
    run = write_run(runs / "a")
    write_metrics(run / "test-1x1", 0.5, 0.7, **meta(num_unreadable=1, num_damaged=2, trained_on=3))
    assert [w.text for w in compare([run]).runs[0].warnings][:3] == [
        "test-1x1: this network was trained on 3 of these 100 clips",
        "test-1x1: 1 clip could not be read and counted as wrong",
        "test-1x1: 2 damaged files used (test-1x1/damaged.csv)",
    ]


def test_the_classes_that_won_and_lost_most(runs):
    names = [f"class {i:02}" for i in range(24)]
    for name, steps in (("a", [0.5] * 24), ("b", [round(0.05 * (i // 2), 2) for i in range(24)])):
        write_run(runs / name)
        write_scores(runs / name / "test-1x1", dict(zip(names, steps)), **meta())
    changes = compare([runs / "a", runs / "b"]).classes
    assert (changes.test, changes.classes, changes.better, changes.worse) == ("test-1x1", 24, 2, 20)
    assert [c.name for c in changes.worst] == names[:10] and changes.worst[0].points == pytest.approx(-50)
    assert [c.name for c in changes.best] == ["class 23", "class 22"] and changes.best[0].points == pytest.approx(5)
    write_run(runs / "c")
    assert compare([runs]).classes is None  # of three, which two?


def test_where_runs_lie(runs, tmp_path):
    write_run(runs / "b-10")
    write_run(runs / "b-2")
    write_run(runs / "more" / "b-2")
    (runs / "clips" / "wave").mkdir(parents=True)
    assert [run.name for run in compare([runs]).runs] == ["b-2", "b-10", "more/b-2"]
    assert len(compare([runs, runs / "b-2", runs / "more" / ".." / "b-2"]).runs) == 3  # each once
    weights = tmp_path / "converted"
    weights.mkdir()
    (weights / "net.safetensors").write_bytes(b"weights")
    write_metrics(weights / "test-1x1", 0.5, 0.7, **meta(None))
    (run,) = compare([weights]).runs
    assert not run.trained and run.tests[0].top1 == 0.5 and not run.warnings
    assert [r.name for r in compare([tmp_path]).runs] == ["converted", "b-2", "b-10"]  # two folders deep


@pytest.mark.parametrize(
    ("name", "says"),
    [("empty", "no run found"), ("rusn", "no such folder. Did you mean 'runs'"), ("runs/a/recipe.yaml", "is a file")],
)
def test_what_is_no_run_is_one_line(runs, tmp_path, name, says):
    write_run(runs / "a")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ConfigError, match=says):
        compare([tmp_path / name])


def test_json_holds_everything_unrounded(runs):
    write_run(runs / "a", tests={"1x1": (1 / 3, 0.7)})
    run = write_run(runs / "b", recipe(run__seed=1), learning_rate=float("nan"), tests={"1x1": (0.4, 0.7)})
    write_log(run, 2)
    values = json.loads(json.dumps(compare([runs]).to_dict(), allow_nan=False))
    one, other = values["runs"]
    assert one["tests"][0]["top1"] == 1 / 3 and one["tests"][0]["published"][0]["top1_difference"] < -14
    assert other["log"][1] == {
        "epoch": 2, "step": 20.0, "lr": 0.01, "loss": 2.0, "top1": 0.5, "val_top1": 0.45, "val_loss": 2.0,
        "seconds": 60.0, "data_share": 0.1,
    }  # fmt: skip
    assert "learning_rate" not in other["info"] and other["problems"] == []
    assert values["groups"][0]["means"][0]["top1"]["n"] == 2 and values["settings"]["run.seed"] == {"a": 0, "b": 1}
