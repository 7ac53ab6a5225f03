"""Studies as their files say them: cells in order, settings laid over the recipe, mistakes named."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from benchmarks.study.cell import run_folder
from benchmarks.study.plan import Study
from benchmarks.study.results import read_result, read_results, results_file
from teinet.data.views import Views
from teinet.errors import ConfigError

FOLDER = Path(__file__).parents[2] / "benchmarks" / "evidence"
EVIDENCE = {study.name: study for path in FOLDER.glob("*.yaml") for study in Study.load_all(path)}
RESULTS = FOLDER.parent / "results" / "evidence"


def changed(path: Path, **values) -> Path:
    path.write_text(yaml.safe_dump({**yaml.safe_load(path.read_text()), **values}, sort_keys=False))
    return path


def test_a_cells_recipe_is_the_recipe_with_network_fold_and_seed(study_file):
    study = Study.load(changed(study_file, seeds=[3], settings={"optim": {"epochs": 5}, "model": {"pretrained": True}}))
    recipe = study.recipe_of(study.cell("TIM/bob/3"), data_root="/data", backbone_weights="w.safetensors")
    model, data = recipe.model, recipe.data
    assert (model.name, model.num_frames, model.backbone_weights) == ("tim_test_resnet", 4, "w.safetensors")
    assert (data.path, data.train, data.val) == ("/data/clips/clips.csv", "subject=ann", "subject=bob")
    assert (recipe.optim.epochs, recipe.optim.lr, recipe.run.seed) == (5, 0.02, 3)


def test_the_digest_follows_what_decides_and_nothing_else(study_file):
    study = Study.load(study_file)
    cell = study.cell("TIM/bob/0")
    other = Study.load(changed(study_file, title="Another", settings={"run": {"workers": 3, "threads": 1}}))
    assert other.digest(cell) == study.digest(cell)
    assert study.digest(study.cell("TSN/bob/0")) != study.digest(cell) != study.digest(study.cell("TIM/ann/0"))
    before = study.digest(cell)
    assert Study.load(changed(study_file, settings={"clip": {"size": 32, "hflip": False}})).digest(cell) == before
    assert Study.load(changed(study_file, views="3x1")).digest(cell) != before
    assert Study.load(study_file).digest(cell, training=True) == before  # it is tested again, not trained again
    faster = Study.load(changed(study_file, settings={"optim": {"lr": 0.03}}))
    assert faster.digest(cell) != before
    assert run_folder("x", faster, cell) != run_folder("x", study, cell)  # the run is not gone on with


def test_what_was_chosen_for_a_fold_holds_for_its_cells_alone(study_file):
    plain = Study.load(study_file)
    chosen = {"bob": {"optim": {"epochs": 5}, "views": "3x1"}}
    study = Study.load(changed(study_file, settings={"optim": {"lr": 0.03}}, fold_settings=chosen))
    ann, bob = study.cell("TIM/ann/0"), study.cell("TIM/bob/0")
    usual = plain.recipe_of(ann).optim
    assert (usual.epochs, usual.lr) != (5, 0.03) and study.recipe_of(ann).optim.epochs == usual.epochs
    assert [study.recipe_of(cell).optim.lr for cell in (ann, bob)] == [0.03, 0.03]
    assert study.recipe_of(bob).optim.epochs == 5 and study.recipe_of(bob).data.val == "subject=bob"
    assert (study.views_of(ann), study.views_of(bob)) == (Views(), Views.parse("3x1"))
    for part in ("optim", "views"):
        less = Study.load(changed(study_file, fold_settings={"bob": {part: chosen["bob"][part]}}))
        assert less.digest(bob) != study.digest(bob) and less.digest(ann) == study.digest(ann)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"fold_settings": {"bab": {}}}, "fold_settings 'bab' is none of the folds. Did you mean 'bob'?"),
        ({"fold_settings": {"bob": {"views": "many"}}}, "views 'many' cannot be parsed; write clips x crops"),
        ({"recipes": 1}, "a study has no 'recipes'. Did you mean 'recipe'?"),
        ({"folds": {"a": "subject=1"}}, "folds must hold names with settings below them"),
        ({"extends": "tiny.yaml"}, "extends itself"),
        ({"reference": "TSM"}, "reference 'TSM' is none of the networks. Did you mean 'TSN'?"),
    ],
)
def test_a_mistake_in_the_file_is_named(study_file, values, said):
    with pytest.raises(ConfigError, match=re.escape(said)):
        Study.load(changed(study_file, **values))


def test_a_file_may_hold_several_studies(study_file):
    said = yaml.safe_load(study_file.read_text())
    path = study_file.with_name("all.yaml")
    more = {"extends": "tiny", "seeds": [1]}
    studies = {"tiny": said, "more": more, "far": {"extends": "tiny.yaml"}}
    path.write_text(yaml.safe_dump({"studies": studies}, sort_keys=False))
    tiny, more, far = Study.load_all(path)
    assert [tiny.name, more.name, far.name] == ["tiny", "more", "far"]
    assert (more.title, more.seeds, more.base) == (tiny.title, (1,), tiny)
    assert Study.load(more.address) == more and far.base == Study.load(study_file)
    with pytest.raises(ConfigError, match=r"has no study 'tinny'\. Did you mean 'tiny'"):
        Study.load(f"{path}#tinny")


@pytest.mark.parametrize("name", sorted(EVIDENCE))
def test_the_evidence_fits_its_plans(name):
    """Recipes can be built, and every result in the repository is of settings that the study names."""
    study = EVIDENCE[name]
    for cell in {cell.network: cell for cell in study.cells()}.values():  # folds and seeds change no setting
        study.recipe_of(cell).check()
    done = [cell for cell in study.cells() if read_result(study, cell, RESULTS)]
    assert len(read_results(results_file(RESULTS, study))) <= len(done)


def test_each_file_of_results_belongs_to_a_study():
    assert {path.stem for path in RESULTS.glob("*.jsonl")} == {*EVIDENCE, "few_clips"}  # the latter is few_clips.py's
