"""Options from dataclasses, and other tools' words answered with ours."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass, fields, is_dataclass
from importlib import import_module
from typing import Any, Literal, get_args, get_type_hints

import pytest

from teinet.cli import train
from teinet.cli.data import ACTIONS, command
from teinet.cli.main import COMMANDS, main
from teinet.cli.parser import Command, option, positional
from teinet.errors import ConfigError
from teinet.training.recipe import Recipe
from tests.conftest import environment


@dataclass(kw_only=True)
class Words:
    """Do it.

    teinet do this
    """

    weights: str = positional("weights")
    videos: list[str] = positional("videos")
    count: int = option("how many", default=3)
    share: float | None = option("how much")
    kind: Literal["a", "b"] = option("which", default="a")
    label: list[str] | None = option("several", group="advanced")
    batch_size: int = option("clips", default=8)
    fast: bool = option("hurry", default=False)


def run(args: Words) -> int:
    return args.count


def parse(*words: str) -> Words:
    return Command(run).parse("do", words)


def test_the_fields_are_the_options_and_hold_what_was_typed():
    typed = parse("net", "--count", "7", "x.mp4", "--label", "p", "y.mp4", "--label", "q", "--fast", "--kind", "b")
    assert typed == Words(weights="net", videos=["x.mp4", "y.mp4"], count=7, label=["p", "q"], fast=True, kind="b")
    assert parse("net", "x.mp4") == Words(weights="net", videos=["x.mp4"])


def test_help_begins_with_examples_and_says_the_defaults():
    text = Command(run).parser("do").format_help()
    assert text.startswith("usage: teinet do WEIGHTS VIDEOS ... [options]\n\nDo it.\n\n  teinet do this\n")
    assert "how many (default: 3)" in text and text.index("advanced:") > text.index("--fast")


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("--batch 4", "unrecognized arguments: --batch 4. Here it is --batch-size"),
        ("--batch_size 4", "Here it is --batch-size"),
        ("--countt 4", "Did you mean '--count'"),
        ("--count four", "invalid int value: 'four'"),
        ("--kind c", "invalid choice: 'c' (choose from 'a', 'b')"),
        ("batch=4", "'batch=4': options begin with two dashes: --batch-size 4"),
        ("--model m", "The weights come first, without an option: teinet do weights"),
        ("--source 0", "Videos come without an option"),
    ],
)
def test_what_others_type_is_answered_in_one_sentence(words, says):
    with pytest.raises(ConfigError) as error:
        parse("net", "x.mp4", *words.split())
    assert says.lower() in str(error.value).lower()


def test_a_far_guess_is_not_made():
    for words in ("--imgsz 3", "--amp", "--export", "--frobnicate 3"):
        with pytest.raises(ConfigError, match="unrecognized") as error:
            parse("net", "x.mp4", *words.split())
        assert "Did you mean" not in str(error.value)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("predict fights x.mp4 --imgsz 320", "scaled to the size that the weights were trained with"),
        ("predict fights x.mp4 --conf 0.5", "a threshold belongs to teinet timeline"),
        ("train videos --imgsz 320", "Here it is --size"),
        ("train videos --batch 8", "Here it is --batch-size"),
        ("train videos --amp", "Here it is --precision bf16"),
        ("train videos --gpus 2", "Here it is --devices"),
        ("train videos --patience 5", "Here it is --optim.patience"),
        ("train videos epochs=5", "--epochs 5"),
        ("train videos optim.lr=5", "--optim.lr 5"),
        ("train videos --batch 4 --imgsz 64", "--batch: Here it is --batch-size. --imgsz: Here it is --size."),
        ("timeline fights x.mp4 --threshold 50", "teinet timeline: threshold is 50"),
        ("timeline fights x.mp4 --conf 0.5", "Here it is --threshold"),
        ("predict fights x.mp4 --half", "Here it is --precision fp16"),
        ("test fights --model x", "weights come first"),
        ("val fights", "Use teinet test."),
        ("infer fights x.mp4", "Use teinet predict."),
        ("finetune fights", "--weights names the weights to start from"),
        ("compare a b", "Use teinet report."),
        ("inspect videos/", "Use teinet data inspect."),
        ("train resnet50 videos", "--backbone resnet50"),
        ("train fights videos", "--weights fights"),
        ("models --list", "unrecognized arguments: --list. See"),
        ("timeline fights x.mp4 --start 3", "unrecognized arguments: --start 3. See"),
        ("train videos --views 10x3", "Here it is --run.tests"),
        ("predict source=x.mp4 model=fights", "Videos come without an option"),
        ("watch fights --page 8080", "Here it is --serve"),
        ("--model x", "options come after a command"),
    ],
)
def test_other_tools_words_lead_to_ours(words, says, capsys):
    assert main(words.split()) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert says.lower() in line.lower() and "Did you mean" not in line


def test_every_help_fits_100_columns_begins_with_examples_and_costs_no_second(tmp_path):
    names = [*(name for name in COMMANDS if name != "data"), *(f"data {action}" for action in ACTIONS)]
    code = (
        "import sys, time, contextlib, io\nfrom teinet.cli.main import main\n"
        "with contextlib.suppress(SystemExit): main(sys.argv[1:])\n"
        "heavy = {'torch', 'timm', 'lightning'} & set(sys.modules)\n"
        "print(time.process_time(), *heavy, file=sys.stderr)"
    )
    for name in names:
        words = [sys.executable, "-c", code, *name.split(), "--help"]
        done = subprocess.run(
            words, env={**environment(), "COLUMNS": "200"}, capture_output=True, text=True, timeout=60
        )
        seconds, *heavy = done.stderr.split()
        assert float(seconds) < 1 and not heavy, (name, done.stderr)
        lines = done.stdout.splitlines()
        assert max(map(len, lines)) <= 100, name
        assert any(line.startswith(f"  teinet {name}") for line in lines[:8]), name


def test_the_same_option_means_the_same_everywhere():
    kinds: dict[str, set[str]] = {}
    commands = [Command(import_module(f"teinet.cli.{n}").run) for n in COMMANDS if n not in ("data", "train")]
    for each in (*commands, *map(command, ACTIONS)):
        for action in each.parser("x")._actions:
            for word in set(action.option_strings) - (
                {"--format"} if each.run.__module__.endswith(".export") else set()
            ):  # of files
                choices = [choice for choice in action.choices or () if choice != "vtt"]  # of recordings alone
                kinds.setdefault(word, set()).add(f"{action.type} {choices}")
    several = {word for word, found in kinds.items() if len(found) > 1}
    assert not several and "--weights" not in kinds, several


def test_the_settings_of_a_recipe_have_the_types_of_the_options_elsewhere():
    """`train` reads values as a recipe does, which also takes null and lists."""

    def plain(kind: Any) -> set[Any]:
        return set(get_args(kind) or [kind]) - {type(None)}

    elsewhere: dict[str, Any] = {}
    for name in ("test", "predict", "timeline", "benchmark"):
        elsewhere |= get_type_hints(Command(import_module(f"teinet.cli.{name}").run).arguments)
    sections = {section: get_type_hints(kind) for section, kind in get_type_hints(Recipe).items() if is_dataclass(kind)}
    shared = set()
    for f in fields(train.command().arguments):
        section, _, name = f.name.partition("__")
        short = (f.metadata.get("names") or [""])[0][2:].replace("-", "_")
        if section in sections and short in elsewhere.keys() - {"background"}:  # one class, or several
            shared.add(short)
            assert plain(elsewhere[short]) - {"int8"} <= plain(sections[section][name]), short  # it is not trained in
    assert {"device", "devices", "precision", "workers", "batch_size", "data", "labels", "output"} <= shared


@pytest.mark.parametrize(
    ("words", "weights", "videos"),
    [
        ("net --count 1 -- -dash.mp4", "net", ["-dash.mp4"]),
        ("net a.mp4 -- -dash.mp4 --count count=3", "net", ["a.mp4", "-dash.mp4", "--count", "count=3"]),
        ("-- net -1 --", "net", ["-1", "--"]),
        ("-- -net --help", "-net", ["--help"]),
    ],
)
def test_what_follows_two_dashes_is_a_name(words, weights, videos):
    typed = parse(*words.split())
    assert (typed.weights, typed.videos) == (weights, videos)


def test_two_dashes_alone_name_nothing():
    with pytest.raises(ConfigError, match="required: VIDEOS"):
        parse("net", "--")
    with pytest.raises(ConfigError, match="invalid int value: '-1'"):
        parse("net", "--count", "--", "-1")
