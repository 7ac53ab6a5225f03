"""The work of `teinet demo`: show a pretrained model, then train TSN and TEINet with one recipe on motion_pairs.

The test split has each clip forwards with one label and backwards with another. TSN ignores the order of frames, so it
cannot pass 50 % top-1, however long it trains.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from rich.console import Console

from teinet.data.lists.splits import DataConfig, load_splits
from teinet.data.motion_pairs import MotionPairs, draw, draw_with_progress
from teinet.errors import ConfigError, Interrupted
from teinet.evaluation.evaluate import TestProgress, evaluate
from teinet.evaluation.scores import Scores
from teinet.models.header import LAST, STATE, pretrained_file
from teinet.recognition import Prediction, Recognizer
from teinet.training.recipe import ClipConfig, ModelConfig, OptimConfig, Recipe, RunConfig
from teinet.training.run_dir import is_run_of
from teinet.training.trainer import train
from teinet.utils.text import percent

BACKBONE = "test_resnet"  # timm's smallest residual network: 0.4 million parameters
NETWORKS = {"TSN": f"tsn_{BACKBONE}", "TEINet": f"teinet_{BACKBONE}"}
CLIPS = MotionPairs()
QUICK_CLIPS = replace(CLIPS, train=4, val=1, test=1)
PRETRAINED = "motion_pairs"
FRESH_CLIPS = MotionPairs(train=0, val=0, test=1, seed=7)  # one clip of each class, for the pretrained model


@dataclass(frozen=True)
class FirstLook:
    """A pretrained model's `card` (see `models.header`), and its predictions for new clips, one of each class."""

    card: dict[str, str]
    labels: Sequence[str]
    predictions: Sequence[Prediction]

    @property
    def right(self) -> int:
        """The number of clips recognized correctly."""
        return sum(answer.label == label for label, answer in zip(self.labels, self.predictions))


@dataclass(frozen=True)
class Result:
    """The content of the page. `scores`, `runs` and `predictions` (of one held-out clip) are by network."""

    folder: Path
    recipe: Recipe
    clips: MotionPairs
    scores: dict[str, Scores]
    runs: dict[str, Path]
    predictions: dict[str, Prediction]
    clip: Path
    label: str
    seconds: dict[str, float]
    quick: bool
    first_look: FirstLook | None

    @property
    def holds(self) -> bool:
        """True if the results are as expected: TSN at most 50 % top-1, TEINet at least 70 %."""
        return self.scores["TSN"].top1 <= 0.5 and self.scores["TEINet"].top1 >= 0.7


def demo_recipe(data: Path, output: Path, network: str, *, quick: bool = False) -> Recipe:
    """Return the small recipe that trains either network from scratch."""
    return Recipe(
        data=DataConfig(path=str(data)),
        model=ModelConfig(name=NETWORKS[network], pretrained=False, dropout=0.0),
        clip=ClipConfig(size=48, short_side=48, scales=[1.0, 0.875]),
        optim=OptimConfig(
            epochs=2 if quick else 12,
            batch_size=16,
            optimizer="adamw",
            lr=1e-2,
            scale_lr=False,
            schedule="onecycle",
            weight_decay=0.05,
            head_lr_scale=1.0,
            bias_lr_scale=1.0,
        ),
        # a second thread costs more than it gains on frames this small
        run=RunConfig(output=str(output), name=network.lower(), workers=1, threads=1, validate_every=2 if quick else 3),
    )


def run_demo(folder: Path, *, quick: bool = False, console: Console | None = None) -> Result:
    """Run or continue the demo in `folder`; `quick`, with few clips and two epochs, only shows that everything runs.

    Raises:
        ConfigError: `folder` has other files.
        Interrupted: Ctrl-C or SIGTERM; the same call continues.
    """
    console = console or Console()
    folder = folder.absolute()
    clips = QUICK_CLIPS if quick else CLIPS
    seconds: dict[str, float] = {}

    @contextmanager
    def step(title: str, about: str, name: str) -> Iterator[None]:
        console.print(f"\n[bold]{len(seconds) + 1}  {title}[/bold]: {about}", soft_wrap=True)
        began = time.monotonic()
        yield
        seconds[name] = time.monotonic() - began

    with step("Pretrained model", PRETRAINED, "pretrained model"):
        look = _first_look(folder / "first_look", console)
    total = 24 * (clips.train + clips.val + clips.test)
    with step("Drawing motion_pairs", f"{total} clips in 12 pairs of classes, each the other played backwards", "draw"):
        data = draw_with_progress(folder / "motion_pairs", clips, console)
    runs = {}
    for network in NETWORKS:
        about = "sees frames, not their order" if network == "TSN" else "the same backbone with TEI modules"
        with step(f"Training {network}", about, f"train {network}"):
            runs[network] = _train(demo_recipe(data, folder, network, quick=quick), console, network)
    recognizers = {network: Recognizer.load(run) for network, run in runs.items()}
    test = load_splits(DataConfig(path=str(data)))["test"]
    scores = {}
    with step("Testing", "held-out clips, each forwards and backwards", "test"):
        for network, recognizer in recognizers.items():
            scores[network] = evaluate(
                recognizer.model,
                test,
                sampling=recognizer.sampling,
                preprocessing=recognizer.preprocessing,
                callbacks=[TestProgress(console)],
                meta={"weights": str(runs[network] / LAST), "split": "test"},
            )
            scores[network].save(runs[network] / "test-1x1")

    # The example is the first clip that TEINet recognizes; the table has the results.
    correct = scores["TEINet"].predictions == scores["TEINet"].labels
    index = int(correct.argmax()) if correct.any() else 0
    return Result(
        folder=folder,
        recipe=demo_recipe(data, folder, "TEINet", quick=quick),
        clips=clips,
        scores=scores,
        runs=runs,
        predictions={network: r(test.paths[index], top_k=3) for network, r in recognizers.items()},
        clip=Path(test.paths[index]),
        label=test.class_names[test.labels[index]],
        seconds=seconds,
        quick=quick,
        first_look=look,
    )


def _first_look(folder: Path, console: Console) -> FirstLook | None:
    """Draw a clip of each class into `folder` and recognize them; return None if the weights are not installed."""
    if pretrained_file(PRETRAINED) is None:
        return None
    clips = load_splits(DataConfig(path=str(draw(folder, FRESH_CLIPS) / "clips.csv")))["test"]
    recognizer = Recognizer.load(PRETRAINED)
    predictions = list(recognizer.predict_many(clips.paths, top_k=1))
    look = FirstLook(recognizer.header["card"], [clips.class_names[label] for label in clips.labels], predictions)
    for label, answer in list(zip(look.labels, predictions))[:4]:
        name, score = answer.labels[0]
        console.print(f"  {label}: {name} ({percent(score)})", highlight=False, soft_wrap=True)
    console.print(
        f"  {look.right} of {len(look.labels)} newly drawn clips are recognized correctly",
        highlight=False,
        soft_wrap=True,
    )
    return look


def _train(recipe: Recipe, console: Console, network: str) -> Path:
    folder = Path(recipe.run.output) / str(recipe.run.name)
    going = (folder / STATE).is_file()
    if folder.exists() and any(folder.iterdir()) and not (going and is_run_of(folder, recipe)):
        raise ConfigError(f"{folder} has other files than this demo's run; choose another --output, or remove it")
    try:
        return train(recipe, resume=folder if going else None, console=console, title="  ")
    except Interrupted as error:
        raise Interrupted(f"stopped at {network}; continue with: teinet demo --output {folder.parent}") from error
