"""`teinet test`: top-1, top-5, mean class accuracy, classes, confusion matrix; of one network, or several together."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from teinet.cli import options
from teinet.cli.options import DEVICE, ENGINE, WEIGHTS, Engine, Precision
from teinet.cli.parser import ADVANCED, option, positional
from teinet.data.lists.data_config import MAX_DAMAGED, MAX_DAMAGED_HELP, check_max_damaged, check_path
from teinet.data.views import Views
from teinet.errors import ConfigError
from teinet.utils.machine import check_device
from teinet.utils.signals import first_process
from teinet.utils.text import count

if TYPE_CHECKING:
    from rich.console import Console

    from teinet.evaluation.plan import Plan, Tested
    from teinet.evaluation.scores import Scores


@dataclass(kw_only=True)
class TestOptions(options.ListOptions):
    """Measure a trained network: top-1, top-5, mean class accuracy, each class and clip, confusion matrix.

    teinet test runs/first                               the clips that the run held out
    teinet test runs/first --data clips/ --views 10x3    other clips, thoroughly
    teinet test runs/first runs/second                   an ensemble (teinet report compares runs)
    """

    weights: list[str] = positional(f"{WEIGHTS}, or an earlier test; several are averaged")
    data: str | None = option("clips to test on (default: those of the run's own data that it held out)")
    split: Literal["train", "val", "test"] | None = option("default: test, else val, else all")
    views: str = option("clips x crops: 1x1, 10x3, any other", default="1x1")
    output: str | None = option(
        "folder for the results (default: test-VIEWS in the run's folder; runs/NAME for a pretrained model)",
        metavar="FOLDER",
    )
    overwrite: bool = option(options.OVERWRITE, default=False)
    calibrate: str | None = option(
        "write the weights with scores that these clips calibrated (temperature scaling), and with the score below "
        "which a clip shows none of the classes (teinet predict --min-score calibrated)",
        metavar="FILE",
    )
    json: bool = option("print the numbers as JSON", default=False)
    select: str | None = option(
        "test these rows of the list, whatever split they are in", metavar="COLUMN=VALUE,...", group=ADVANCED
    )
    backwards: bool = option("play each clip backwards, to see whether order matters", default=False, group=ADVANCED)
    average: Literal["probabilities", "logits"] = option("over views", default="probabilities", group=ADVANCED)
    ensemble_weights: str | None = option("of the scores (default: all alike)", metavar="1,1", group=ADVANCED)
    submit: str | None = option("write predictions of unlabeled clips, by their ids", metavar="FILE", group=ADVANCED)
    max_damaged: float | None = option(
        f"{MAX_DAMAGED_HELP} (default: the list's or the run's setting, {MAX_DAMAGED})", group=ADVANCED
    )
    read_timeout: float = option(
        "seconds after which a file that cannot be read to its end stops the test; 0: never", default=120.0,
        group=ADVANCED,
    )  # fmt: skip
    batch_size: int = option("views in one pass of the network: bounds the memory", default=8, group="device")
    workers: int | None = option("decoding processes (default: one per core, at most 8)", group="device")
    device: str = option(DEVICE, default="auto", group="device")
    devices: int = option("how many devices; on a CPU, processes", default=1, group="device")
    engine: Engine = option(ENGINE, default="eager", group="device")
    precision: Precision = option(options.PRECISION, default="auto", group="device")

    explain_missing = staticmethod(options.WeightsArgument.explain_missing)


def run(args: TestOptions) -> int:
    """Test and print; return 0, or 1 when some clip could not be read."""
    shares = _shares(args)
    _check(args)
    from rich.console import Console

    from teinet.evaluation.ensemble import average

    plan = _plan(args)
    console = Console(stderr=args.json, highlight=False)
    several = len(args.weights) > 1
    if several and first_process():
        names = " ".join(args.weights)
        console.print(f"testing an ensemble: the scores of {len(args.weights)} networks are averaged", soft_wrap=True)
        console.print(f"to compare them instead: teinet report {names}", style="dim", soft_wrap=True, markup=False)
    tested: list[Tested] = []
    for weights in args.weights:
        title = str(weights) if several else "testing"
        result = _tested(args, weights, plan, output=None if several else args.output, title=title)
        if several and first_process():
            how = "scores on disk" if result.from_disk else f"tested, {result.folder}"
            console.print(f"{weights}: {how}", soft_wrap=True)
        tested.append(result)
    if not first_process():
        return 0
    scores, folder = tested[0].scores, tested[0].folder
    if several:
        scores = average([t.scores for t in tested], shares, args.weights)
        folder = Path(args.output) if args.output else _ensemble_folder(args.weights, tested)
        scores.save(folder)
    for note in dict.fromkeys(note for t in tested if t.source for note in t.source.notes):
        console.print(note, style="dim", soft_wrap=True)
    _print(console, args, scores, tested, folder)
    if args.calibrate:
        _calibrate(console, args, scores)
    if args.submit:
        from teinet.evaluation.submission import write_submission

        told = next((t.scores.meta["submission"] for t in tested if t.scores.meta.get("submission")), {})
        form, names = told.get("form", "names"), told.get("class_names")
        written = write_submission(scores, args.submit, form=form, class_names=names)
        left = f", {len(scores) - written} unreadable ones left out" if written < len(scores) else ""
        console.print(f"{args.submit}: predictions of {written} clips{left}", soft_wrap=True)
    return 1 if scores.num_unreadable else 0


def _calibrate(console: Console, args: TestOptions, scores: Scores) -> None:
    """Write the weights with calibrated scores, and say what changed."""
    from teinet.evaluation.calibration import calibrate
    from teinet.recognition import Recognizer

    assert args.calibrate is not None
    recognizer = Recognizer.load(args.weights[0], device="cpu")
    found = calibrate(recognizer, scores)
    recognizer.save(args.calibrate)
    console.print(
        f"{args.calibrate}: logits divided by {found.temperature:.3g}; calibration error "
        f"{100 * found.error_before:.1f} -> {100 * found.error_after:.1f} % on {found.clips} clips. From a score "
        f"of {found.min_score:.2f} on {100 * found.answered:.0f} % have an answer, {100 * found.right:.0f} % right",
        soft_wrap=True,
        markup=False,
    )
    if scores.meta.get("trained_on"):
        console.print("some of these clips were trained on: scores of new clips will still be too high", style="yellow")


def _tested(args: TestOptions, weights: str, plan: Plan, *, output: str | None, title: str) -> Tested:
    """Return the scores on disk, without torch, or test."""
    from teinet.evaluation.plan import Ready, saved_scores

    if (saved := saved_scores(weights)) is not None:
        return saved
    ready = Ready.of(weights, plan, output=output)
    if not args.overwrite and (found := ready.earlier()) is not None:
        return found
    from rich.console import Console

    from teinet.evaluation.evaluate import TestProgress
    from teinet.evaluation.hardware import Hardware
    from teinet.evaluation.testing import test

    plan = replace(plan, hardware=Hardware(device=args.device, devices=args.devices))
    bar = TestProgress(Console(stderr=True), title=title)
    return test(ready, plan, reuse=False, callbacks=[bar])


def _check(args: TestOptions) -> None:
    """Raise TeinetError for what is wrong with the arguments, before torch is imported."""
    from teinet.evaluation.plan import saved_scores
    from teinet.evaluation.scores import SCORES
    from teinet.models.header import read_header

    lists: dict[str, str] = {}  # of the networks' own clips, with the first network of each
    for name in args.weights:
        if Path(name).name != SCORES and not (Path(name) / SCORES).is_file():
            options.note_unfinished(name, header := read_header(name))
            if header["multi_label"] and (len(args.weights) > 1 or args.submit):
                what = "--submit writes" if args.submit else "an ensemble averages"
                raise ConfigError(f"{name} gives several labels for a clip, and {what} one; test it alone")
            stored = header["recipe"].get("data") or {}
            if args.data is None and not stored.get("path"):
                raise ConfigError(f"{name} does not name its clips; name those to test on with --data PATH")
            lists.setdefault(os.path.realpath(stored.get("path") or ""), name)
    if args.data is None and len(lists) > 1:
        one, other, *_ = lists.values()
        raise ConfigError(f"{one} and {other} hold out clips of different lists; name clips for both with --data PATH")
    ensemble = [f"{args.output}/{SCORES}"] if args.output and len(args.weights) > 1 else []
    if args.calibrate and (len(args.weights) > 1 or args.views != "1x1" or args.backwards):
        raise ConfigError("--calibrate takes one network and one view a clip (--views 1x1), played forwards")
    if args.calibrate and (not args.calibrate.endswith(".safetensors") or saved_scores(args.weights[0])):
        raise ConfigError("--calibrate writes a .safetensors file, of weights or a run; name both")
    options.keep_existing([*ensemble, *filter(None, [args.submit, args.calibrate])], overwrite=args.overwrite)
    if args.data is not None:
        check_path(args.data)
    if args.max_damaged is not None:
        check_max_damaged(args.max_damaged, "--max-damaged")
    Views.parse(args.views)
    check_device(args.device)
    options.check_range(args, batch_size=1, devices=1, official_split=1, workers=0, read_timeout=0)
    if args.data is None and (idle := [n for n in ("val_path", "test_path", "labels") if getattr(args, n)]):
        raise ConfigError(f"--{idle[0].replace('_', '-')} belongs to a list; name it with --data")


def _plan(args: TestOptions) -> Plan:
    from teinet.evaluation.plan import Plan

    same = ("root", "split", "select", "backwards", "batch_size", "workers", "read_timeout", "precision", "max_damaged")
    return Plan(
        **{name: getattr(args, name) for name in same},
        data=args.data_config(args.data) if args.data else None,
        unlabeled=bool(args.submit),
        views=Views.parse(args.views),
        averaging=args.average,
        engine=args.engine,
    )


def _shares(args: TestOptions) -> list[float] | None:
    if args.ensemble_weights is None:
        return None
    if len(args.weights) == 1:
        raise ConfigError("--ensemble-weights weighs several networks' scores; one network was named")
    try:
        return [float(share) for share in args.ensemble_weights.split(",")]
    except ValueError:
        said = f"--ensemble-weights {args.ensemble_weights!r}"
        raise ConfigError(f"{said}: write numbers with commas between them, such as 1,1") from None


def _ensemble_folder(names: list[str], tested: list[Tested]) -> Path:
    """Return where an ensemble's results go: next to the first network's folder, A+B/test-VIEWS."""
    homes = [t.folder.parent if t.folder else _home(Path(name).absolute()) for name, t in zip(names, tested)]
    test = tested[0].folder.name if tested[0].folder else f"test-{tested[0].scores.meta.get('views', '1x1')}"
    return homes[0].parent / "+".join(home.name for home in homes) / test


def _home(scores: Path) -> Path:
    folder = scores.parent if scores.is_file() else scores
    return folder.parent if folder.name.startswith("test") else folder


def _print(console: Console, args: TestOptions, scores: Scores, tested: list[Tested], folder: Path | None) -> None:
    from teinet.evaluation.plan import measured
    from teinet.evaluation.published import comparable, print_published
    from teinet.evaluation.scores import tables
    from teinet.models.header import pretrained_file, read_header

    rows = [row for t in tested if (row := t.recipe.get("row"))]
    members = rows if 1 < len(tested) == len(rows) else []
    unique = list({(p.table, p.row): p for t in tested for p in t.published}.values())
    printed = comparable(unique, views=str(scores.meta.get("views")), members=members)
    several = scores.label_sets is not None
    if (len(tested) > 1 and not members) or args.select or args.backwards or args.split == "train" or several:
        printed = []  # papers do not report these
    trained = max(t.scores.meta.get("trained_on", 0) for t in tested)
    if args.json:
        numbers = {**scores.metrics(), "published": [asdict(p) for p in printed]}
        print(json.dumps(numbers, indent=2, ensure_ascii=False))
    else:
        for table in tables(scores, title=f"{' + '.join(args.weights)} on {scores.meta.get('split', 'its clips')}"):
            console.print(table)
    for name in dict.fromkeys(args.weights):
        if pretrained_file(name) and not Path(name).exists():
            card = read_header(name)["card"]
            console.print(f"{name} was trained on {card.get('data', '')}", style="dim", soft_wrap=True)
    if trained:
        used = f"this network was trained on {trained} of these {count(len(scores), 'clip')}"
        warning = f"{used}; its accuracy on new clips may be much lower"
        console.print(warning, style="bold yellow", soft_wrap=True)
    if args.json:
        return
    if not (scores.labels >= 0).any():  # results of the data set's evaluation server
        for p in printed:
            if p.test is not None:
                console.print(f"published for the unlabeled test clips: table {p.table}, {p.row}, top-1 {p.test}")
    elif printed:
        changed_settings = {t.recipe.get("row"): t.recipe.get("changed_settings") or () for t in tested}
        print_published(console, printed, measured(scores), changed_settings)
    if folder is not None and len(tested) == 1 and tested[0].from_disk:
        console.print(f"{folder}: scores of an earlier test of the same clips; --overwrite tests again", soft_wrap=True)
    elif folder is not None:
        matrix = "" if several else ", confusion matrix"
        console.print(f"wrote {folder}: each clip and class{matrix}, metrics.json", soft_wrap=True)
