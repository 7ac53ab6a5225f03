"""Every command of the documents runs, on small files under the names that the documents use."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
from pathlib import Path

import pytest
import timm
import torch
import torchvision

from teinet.cli.main import COMMANDS, main
from tests import miniatures
from tests.models import foreign

ROOT = Path(__file__).parents[1]
# Small networks and clips in place of large ones; files in place of cameras and addresses; no compilation.
SMALLER = (
    (r" /data/", " data/"), (r"\b(tf_efficientnet_lite0|resnet50)(?= |$)", "resnet10t"), ("10x3", "2x1"),
    ("WEIGHTS", "runs/first"), ("--engine compile", "--engine folded"), ("--serve 8000", "--serve 0"),
    ("--epochs 40", "--epochs 2"), (" --all-forms", ""),
    (r" camera(?= |$)", " clip.mp4"), (r"rtsp://\S+/live", "clip.mp4"), (r"camera:1", "yard.mp4"),
    (r"(watch runs/live)$", r"\1 clip.mp4"), (r"--workers \d", "--workers 1"),
    (r"benchmark(?= --|$)", "benchmark tsn_resnet10t"), (r"hf://\S+", "runs/first"),
    ("s3://bucket/", ""),
    ("source_video", "subject"), ("teinet_tf_efficientnet_lite0", "teinet_resnet10t"),
)  # fmt: skip
MORE = {
    "train": "--model.pretrained false --size 32 --epochs 1 --workers 0 --batch-size 4 --device cpu --output trained "
    "--run.max_unreadable 1 --run.tests [1x1]",
    "test": "--workers 0",
    "probe": "--backbone resnet10t --backbone-weights lite0.pth --frames 2 --frame-size 32 --folds 2 --shuffles 1 "
    "--workers 0 --overwrite",
    "watch": "--fast",
    "benchmark": "--rounds 1 --size 32 --frames 2 --batch-size 1",
}
ELSEWHERE = {"demo": "tests/demo/test_demo.py", "serve": "tests/serving/test_server.py"}
DATA_SETS = {"data/sthv1": "something_v1", "sthv1": "something_v1", "data/sthv2": "something_v2", "hmdb51": "hmdb51",
             "data/ucf101": "ucf101"}  # fmt: skip


def commands(page: Path) -> list[str]:
    """The commands of a page's shell examples, each in one line."""
    blocks = re.findall(r"```(?:bash|sh)\n(.*?)```", page.read_text().replace("\\\n", " "), re.DOTALL)
    return [line for block in blocks for line in block.splitlines() if line.startswith("teinet ")]


PAGES = [page for page in [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))] if commands(page)]


def in_words(line: str) -> list[str]:
    """The words of a command after `teinet`, made small."""
    line = shlex.join(shlex.split(line, comments=True))
    for large, small in SMALLER:
        line = re.sub(large, small, line)
    words = shlex.split(line)[1:]
    if words[0] == "train" and "--resume" not in words:
        words += MORE["train"].split()
        if not {"--weights", "--model.weights", "--backbone"} & set(words):
            words += ["--model.name", "teinet_resnet10t"]
        if not {"--weights", "--model.weights"} & set(words):
            words += ["--frames", "2"]
    elif words[0] != "train":
        words += MORE.get(words[0], "").split()
    found = []
    for word in words:  # what a shell does
        found += sorted(str(path) for path in Path().glob(word)) if "*" in word and "/" in word else [word]
    return found


@pytest.fixture(scope="module")
def world(tmp_path_factory) -> Path:
    """The files that the documents name."""
    place = tmp_path_factory.mktemp("documents") / "world"
    for kind, label in enumerate(("wave", "clap", "draw circle", "rest")):
        for number in range(5):
            miniatures.write(place / "videos" / label / f"{number}.mp4", kind, 15)
    names = "clip new folder/a more/b film yard long recordings/a recordings/b joined/a joined/b monday tuesday".split()
    for kind, name in enumerate([*names, "teinet-demo/first_look/test/a"]):
        miniatures.write(place / f"{name}.{'webm' if name == 'more/b' else 'mp4'}", kind % 3, 30)
    rows = [f"videos/{label}/{n}.mp4,{label},{1 + n}" for label in ("wave", "clap") for n in range(5)]
    (place / "clips.csv").write_text("\n".join(["path,label,subject", *rows]) + "\n")
    rows = [f"videos/{label}/{n}.mp4,{label if n else ''}{'|long' if n > 2 else ''}" for label in ("wave", "clap")
            for n in range(5)]  # fmt: skip
    (place / "several.csv").write_text("\n".join(["path,label", *rows]) + "\n")
    annotated = {"monday": 1, "tuesday": 3, "yard": 5, "new": 1, "film": 3}
    rows = [f"{n}.mp4,{second},{second + 1},{label},{subject}" for n, subject in annotated.items()
            for second, label in enumerate(("wave", "clap"))]  # fmt: skip
    (place / "annotations.csv").write_text("\n".join(["path,start,end,label,subject", *rows]) + "\n")
    (place / "joined" / "annotations.csv").write_text("path,start,end,label\na.mp4,0,1,wave\nb.mp4,1,2,clap\n")
    for name, kind in DATA_SETS.items():
        getattr(miniatures, kind)(place / name)
    shutil.copytree(place / "sthv1" / "20bn-something-something-v1", place / "frames")
    for label, right in (("wave", 2), ("clap", -2)):
        for number in range(3, 8):
            miniatures.flow(place / "flow-clips" / label / f"{number}", right)
    (place / "lists").mkdir()
    for label in range(2):
        for number in range(3):
            miniatures.images(place / "data" / "frames" / f"{label}{number}", label, name="img_{:05d}.jpg")
    for name, numbers in (("train", (0, 1)), ("val", (2,))):
        lines = [f"{label}{number} 10 {label}" for label in range(2) for number in numbers]
        (place / f"{name}.txt").write_text("\n".join(lines) + "\n")
    _checkpoints(place)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        small = "--backbone resnet10t --frames 2 --output runs"
        for line in (f"videos/ --name first {small}", f"videos/ --name live --model.causal true {small}",
                     f"data/sthv2 --name something_v2-teinet_8f-1 {small}",
                     f"flow-clips --name flow --modality flow {small}",
                     f"flow-clips --name rgb --image-names img_%05d.jpg {small}"):  # fmt: skip
            assert main(["train", *f"{line} {MORE['train'].replace('--output trained', '')}".split()]) == 0
        for name in ("a", "b", "c", "net_16f", "net_8f"):
            shutil.copytree("runs/first", f"runs/{name}")
        for words in (["runs/a", "--views", "2x1"], ["runs/b"]):
            assert main(["test", *words, "--workers", "0"]) == 0
    return place


def _checkpoints(place: Path) -> None:
    """Write other projects' files, with 3 classes."""
    torch.manual_seed(0)
    for name in ("labels.json", "kinetics.txt", "imagenet.txt", "classes.txt"):
        text = json.dumps({"wave": "0", "clap": "1", "jump": "2"}) if name == "labels.json" else "wave\nclap\njump\n"
        (place / name).write_text(text)
    tsm = foreign.build("tsm", "resnet18", 3, 8, shift=True)
    name = "TSM_somethingv2_RGB_resnet50_shift8_blockres_avg_segment8_e45.pth"
    foreign.randomize(tsm)
    torch.save(foreign.tsm_file(tsm), place / name)
    mmaction = foreign.build("mmaction", "resnet18", 3, 8, shift=True)
    name = "tsm_r50_dense_1x1x8_100e_kinetics400_rgb.pth"
    foreign.randomize(mmaction)
    torch.save(foreign.mmaction_file(mmaction), place / name)
    torch.save(torchvision.models.resnet18(num_classes=3).state_dict(), place / "resnet50-0676ba61.pth")
    r2plus1d = torchvision.models.video.r2plus1d_18(num_classes=3).state_dict()
    torch.save({key: value.half() for key, value in r2plus1d.items()}, place / "r2plus1d_18-91a641e6.pth")
    torch.save(timm.create_model("resnet10t", num_classes=3).state_dict(), place / "lite0.pth")


def _copy(source: str, target: str) -> None:
    """Copy a file, or link to a large one: weights, which are replaced and never changed."""
    (os.link if os.path.getsize(source) > 1e6 else shutil.copy)(source, target)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_commands_of_a_page_run(page: Path, world: Path, tmp_path: Path, monkeypatch, capsys) -> None:
    shutil.copytree(world, tmp_path / "here", copy_function=_copy)
    monkeypatch.chdir(tmp_path / "here")
    if any("--name live" in line for line in commands(page)):
        shutil.rmtree("runs/live")  # which this page makes
    for line in commands(page):
        words = in_words(line)
        if words[0] in ELSEWHERE:
            assert (ROOT / ELSEWHERE[words[0]]).is_file()
            continue
        assert main(words) == 0, (line, words, capsys.readouterr().err)
        for run in Path("trained").glob("*"):  # under the name by which the page goes on
            if not (Path("runs") / run.name).exists():
                shutil.move(run, Path("runs") / run.name)


def test_the_documents_show_every_command() -> None:
    shown = {line.split()[1] for page in PAGES for line in commands(page)}
    assert shown >= set(COMMANDS) - {"models", "info"}  # which take no work to show
