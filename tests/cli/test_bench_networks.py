"""`teinet bench` as a user sees it."""

from __future__ import annotations

import json

import pytest
import torch
from rich.console import Console

from teinet.benchmark.contenders import Contender, build
from teinet.benchmark.networks import Cost
from teinet.cli.bench.networks import show
from teinet.cli.main import main
from teinet.models.insertion import is_causal

TINY = (
    "--backbones",
    "resnet10t",
    "--frames",
    "2",
    "--size",
    "32",
    "--rounds",
    "2",
    "--repeats",
    "1",
    "--batch-size",
    "2",
)


def test_numbers_a_file_and_a_picture(tmp_path, capsys):
    picture, output = tmp_path / "costs.png", tmp_path / "costs.json"
    words = ["bench", *TINY, "--networks", "tsn,teinet", "--json", "--picture", str(picture), "--output", str(output)]
    assert main(words) == 0
    told = json.loads(capsys.readouterr().out)
    assert told == json.loads(output.read_text())
    assert [row["name"] for row in told["networks"]] == ["tsn_resnet10t", "teinet_resnet10t"]
    assert told["machine"]["versions"]["torch"] and told["rounds"] == 2
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_the_causal_form_is_measured_as_what_it_is(capsys):
    small = ("--networks", "teinet", "--measure", "latency")
    costs = []
    for more in ((), ("--causal",)):
        assert main(["bench", *TINY, *small, *more, "--json"]) == 0
        (row,) = json.loads(capsys.readouterr().out)["networks"]
        assert row["causal"] is bool(more)
        costs.append((row["parameters"], row["macs"]))
    assert costs[0] == pytest.approx(costs[1], rel=0.01)  # about the same work, on other frames
    model = build(Contender(network="teinet", backbone="resnet10t", causal=True), torch.device("cpu"))
    assert is_causal(model)


@pytest.mark.parametrize("width", [40, 80, 200])
def test_tables_keep_their_words_whole_on_any_terminal(width):
    seconds = {"latency": [0.2, 0.3, 0.25], "training": [1.0, 2.0, 3.0]}
    ratios, peaks = {"latency": [1.0, 1.1, 1.2]}, {"latency": 100.0, "training": 200.0}
    costs = [
        Cost(Contender(network=name), 24_327_632, 32_700_000_000, seconds, ratios, peaks, 688.0)
        for name in ("tsn", "teinet")
    ]
    costs.append(Cost(Contender(network="tsm"), failed="not enough memory"))
    console = Console(width=width, record=True, highlight=False, soft_wrap=True, file=open("/dev/null", "w"))
    show(console, costs, ["latency", "training"], {"latency": 1, "training": 1})
    text = console.export_text()
    lines = text.splitlines()
    assert "…" not in text
    row = next(
        line for line in lines[lines.index("latency, one clip") :] if line.strip().startswith("teinet_resnet50 8f")
    )
    assert row.split()[2:] == ["250", "200", "300", "1.100", "100", "36.5"]  # the paper's latency stands at the end
    row = next(line for line in lines if line.strip().startswith("teinet_resnet50 8f"))
    assert "24.3 M" in row and "32.70" in row
    assert "tsm_resnet50 8f: not measured: not enough memory" in text
    assert "688" in text[text.index("training") :]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--networks", "teinett"), "teinett"),
        (("--backbones", "resnet5O"), "resnet5O"),
        (("--frames", "8;16"), "--frames '8;16'"),
        (("--optimize", "fold"), "Did you mean 'folded'"),
        (("--precisions", "int8"), "--precisions: no 'int8'"),
        (("--measure", "speed"), "--measure: no 'speed'"),
        (("--rounds", "0"), "--rounds is 0"),
        (("--repeats", "0"), "--repeats is 0"),
        (("--networks", ","), "--networks names nothing"),
        (("--output", "/no/such/folder/x.json"), "its folder does not exist"),
        (("--device", "cuda:7"), "cuda:7"),
        (("--precisions", "bf16"), "--optimize folded or compiled"),
        (("--picture", "costs.xyz"), "must end in .png"),
    ],
)
def test_what_cannot_be_used_is_said_before_anything_is_measured(words, said, capsys):
    assert main(["bench", *words]) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert said in line


def test_help_names_both_actions(capsys):
    with pytest.raises(SystemExit) as done:
        main(["bench", "--help"])
    assert done.value.code == 0
    out = capsys.readouterr().out
    assert "networks" in out and "data" in out
