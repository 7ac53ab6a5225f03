"""`teinet benchmark` as a user sees it. No time is asserted."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

import pytest
import torch

from benchmarks import paper_costs
from teinet.cli.benchmark import BenchmarkedNetwork, find_paper, load
from teinet.cli.main import main
from teinet.evaluation.speed import TABLE_2, Speed, Timing, compare, expected_seconds, measure_memory
from teinet.models.factory import create_model
from teinet.models.optimized import native_precision
from teinet.models.systems.gcn import grid_boxes
from teinet.recognition import Recognizer
from teinet.utils.worker_pool import Done, TaskFailure

CPU = torch.device("cpu")
TINY = ("--frames", "2", "--size", "32", "--batch-size", "2", "--rounds", "2")


def test_names_and_weights_stand_in_one_table(tmp_path, capsys):
    model = create_model("tim_test_resnet", num_classes=2, num_frames=4)
    Recognizer(model, ["left", "right"]).save(tmp_path / "mine.safetensors")
    assert main(["benchmark", "tsn_test_resnet", str(tmp_path / "mine.safetensors"), *TINY]) == 0
    out = capsys.readouterr().out
    rows = [line.split() for line in out.splitlines() if "test_resnet" in line or "mine" in line]
    assert [row[1:6] for row in rows] == [
        ["eager,", "fp32", "2", "x", "32x32"],
        ["eager,", "fp32", "4", "x", "224x224"],
    ]
    assert "TSN" not in out  # none of them is compared with another
    assert "cores; PyTorch " in out and "paper" not in out  # none of these is in the paper

    assert main(["benchmark", "teinet_test_resnet", *TINY, "--causal", "--engine", "folded", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    (row,) = told["models"]
    assert told["machine"]["processor"] and told["device"] == "cpu"
    assert (row["form"], row["over_tsn"]) == (f"folded, {native_precision(CPU)}", None)
    assert row["latency_ms"]["low"] <= row["latency_ms"]["median"] <= row["latency_ms"]["high"]
    assert row["clips_per_second"]["low"] > 0 and row["paper"] is None


def test_counts_and_published_rows_are_the_papers():
    """Table 2: TEINet of 8 frames has 30.4 M parameters and 33 G multiply-adds; the paper's rows are bidirectional."""

    def speed(name: str, frames: int, causal: bool = False) -> Speed:
        model = create_model(name, num_classes=400, num_frames=frames, causal=causal)
        return Speed.of(name, model.eval(), (224, 224))

    teinet, causal, tsn = speed("teinet_resnet50", 8), speed("teinet_resnet50", 8, True), speed("tsn_resnet50", 16)
    assert (teinet.parameters, teinet.macs) == (30_356_896, pytest.approx(32.88e9, rel=1e-3))
    assert len(TABLE_2) == 9 and teinet.published == (30.4, 36.5, 46.9)
    assert causal.published is tsn.published is None
    teinet.size = (112, 112)
    assert teinet.published is None


def test_milliseconds_and_clips_a_second_by_hand():
    speed = Speed(name="x", model=torch.nn.Identity(), size=(8, 8), parameters=1, macs=1)
    speed.seconds = {1: [0.1, 0.4, 0.2], 4: [2.0, 1.0, 4.0]}
    assert speed.latency() == Timing(200, 100, 400)
    assert speed.throughput() == Timing(2, 1, 4)


def test_the_time_over_tsns_by_hand():
    """Of the same backbone, form, clip and number of clips; the median of the rounds' ratios, not of the times."""

    def speed(name: str, form: str = "eager, fp32", frames: int = 2, many: int = 4) -> Speed:
        model = create_model(name, num_classes=2, num_frames=frames)
        made = Speed(name=name, model=model, size=(8, 8), parameters=1, macs=1, form=form)
        made.seconds = {1: [0.1, 0.4, 0.2], many: [2.0, 1.0, 4.0]}
        return made

    tsn, teinet = speed("tsn_test_resnet"), speed("teinet_test_resnet")
    teinet.seconds = {1: [0.2, 0.6, 0.3], 4: [2.0, 4.0, 4.4]}
    others = [
        speed("teinet_test_resnet", form="folded, fp32"),
        speed("teinet_test_resnet", frames=4),
        speed("teinet_test_resnet", many=2),
        speed("teinet_resnet10t"),
    ]
    compare([teinet, *others, tsn])
    assert teinet.over_tsn == {"latency": 1.5, "throughput": 1.1}
    assert tsn.over_tsn is None and all(other.over_tsn is None for other in others)


def test_every_form_of_a_network_next_to_tsns(capsys, monkeypatch):
    monkeypatch.setattr("teinet.models.optimized.can_compile", lambda device: False)  # half a minute for each
    monkeypatch.setattr("teinet.models.optimized.native_precision", lambda device: "bf16")
    monkeypatch.setattr("teinet.recognition.engines.find_spec", lambda name: None)  # no runtimes: they are exported for
    assert main(["benchmark", "tsn_test_resnet", "teinet_test_resnet", *TINY, "--all-forms", "--json"]) == 0
    models = json.loads(capsys.readouterr().out)["models"]
    forms = ["eager, fp32", "folded, fp32", "folded, bf16"]
    assert [(m["name"], m["form"]) for m in models] == [
        (f"{kind}_test_resnet", form) for kind in ("tsn", "teinet") for form in forms
    ]
    assert all(m["over_tsn"] is None for m in models[:3])
    assert all(set(m["over_tsn"]) == {"latency", "throughput"} for m in models[3:])


@pytest.mark.parametrize(("words", "said"), [
    (("tsn_test_resnet", "--all-forms", "--precision", "bf16"), "leave out --engine and --precision"),
    (("teinet_resnet5O",), "resnet5O"), (("nowhere.safetensors",), "nowhere.safetensors"),
    (("--batch-size", "0"), "--batch-size is 0"), (("--device", "cuda:7"), "cuda:7"),
    (("--paper", "tsn_resnet5"), "Did you mean 'tsn_resnet50'"), (("--paper", "--size", "32"), "own clip"),
    (("tsn_test_resnet", "--precision", "fp16", "--device", "cpu"), "fp16 needs a GPU"),
])  # fmt: skip
def test_what_cannot_be_used_is_said_before_anything_is_measured(words, said, capsys):
    assert main(["benchmark", *words]) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert said in line


# The rows of the paper's Tables 2, 3 and 5 without flow, by table: network, frames and pixels of the published cost;
# the multiply-adds of a view as printed, in billions, if they are of one network.
PAPER = {
    "2": {
        ("i3d_resnet50_32x2", 32, 224): {360 / 2}, ("eco", 16, 224): {64}, ("tsn_resnet50", 8, 224): {33},
        ("tsm_resnet50", 8, 224): {33}, ("tsm_resnet50", 16, 224): {65}, ("tim_resnet50", 8, 224): {33},
        ("teinet_resnet50", 8, 224): {33}, ("tim_resnet50", 16, 224): {66}, ("teinet_resnet50", 16, 224): {66},
    },
    "3": {
        ("tsn_resnet50", 8, 224): {33}, ("trn_bninception", 8, 224): {33}, ("trn_resnet50", 8, 224): {33},
        ("s3dg", 64, 224): {71}, ("i3d_resnet50_32x2", 32, 224): {306 / 2},
        ("nl_i3d_resnet50_32x2", 32, 224): {334 / 2}, ("nl_i3d_resnet50_gcn", 32, 224): {606 / 2},
        ("eco", 16, 224): {64}, ("eco_lite", 16, 224): set(), ("eco_lite", 20, 224): set(),
        ("eco_lite", 24, 224): set(), ("eco_lite", 32, 224): set(), ("tsm_resnet50", 8, 224): {33},
        ("tsm_resnet50", 16, 224): {65}, ("teinet_resnet50", 8, 224): {33, 990 / 30},
        ("teinet_resnet50", 16, 224): {66, 1980 / 30},
    },
    "5": {
        ("i3d_inception_v1", 64, 224): {108}, ("artnet_resnet18", 16, 112): {23.5},
        ("nl_i3d_resnet50", 32, 256): {70.5}, ("nl_i3d_resnet101", 128, 256): {359},
        ("slowfast_resnet50_4x16", 32, 256): {36.1},
        ("slowfast_resnet101_8x8", 32, 256): {106}, ("nl_slowfast_resnet101_16x8", 64, 256): {234},
        ("lgd_resnet101", 128, 224): set(), ("tsn_inception_v3", 1, 299): {3.2}, ("eco_lite", 16, 224): set(),
        ("eco_lite", 20, 224): set(), ("eco_lite", 24, 224): set(), ("eco_lite", 32, 224): set(),
        ("r2plus1d_34", 32, 112): {152}, ("s3dg", 64, 224): {71.4}, ("stnet_resnet50", 125, 256): {189.3},
        ("tsm_resnet50", 16, 224): {65}, ("teinet_resnet50", 8, 224): {33}, ("teinet_resnet50", 16, 224): {66},
    },
}  # fmt: skip


def test_the_papers_systems_are_those_of_its_tables():
    entries = find_paper()
    found = {
        table: {
            (e.name, e.frames, e.size): {p.gmacs for p in e.rows if p.table == table and not p.ensemble} - {None}
            for e in entries
            if table in {p.table for p in e.rows}
        }
        for table in PAPER
    }
    assert found == PAPER and len(entries) == 29
    table_2 = {(e.name, e.frames) for e in entries if "2" in {p.table for p in e.rows}}
    assert table_2 == set(TABLE_2)
    assert [(e.frames, e.size) for e in find_paper(["tsm_resnet50"])] == [(8, 224), (16, 224)]


def test_costs_stand_next_to_those_that_the_paper_prints(tmp_path, monkeypatch, capsys):
    """Table 3 gives TRN on BNInception the 33 G of ResNet-50; public code has 13,547,792 parameters and 16.26 G.

    Table 5 gives TSN on Inception V3 3.2 G a frame; at 299 pixels it takes 5.71.
    """
    words = ["--paper", "tsn_inception_v3", "trn_bninception", "--rounds", "1", "--batch-size", "1", "--json"]
    assert main(["benchmark", *words]) == 0
    text = capsys.readouterr().out
    trn, tsn = json.loads(text)["models"]
    assert (trn["name"], trn["num_frames"], trn["size"]) == ("trn_bninception", 8, [224, 224])
    assert (trn["parameters"], trn["macs"]) == (13_547_792, pytest.approx(16.26e9, rel=1e-3))
    assert trn["rows"][0] == {"table": "3", "row": "TRN-Multiscale-RGB BNInception 8f", "gmacs": 33}
    assert (tsn["num_frames"], tsn["size"], tsn["macs"]) == (1, [299, 299], pytest.approx(5.71e9, rel=1e-3))
    for model in (trn, tsn):
        assert 0 < model["latency_ms"]["low"] == model["latency_ms"]["high"] and model["paper"] is None
        assert (model["peak_mb"]["latency"] or 1) > 0 and model["batch_size"] == 1

    (tmp_path / "costs.json").write_text(text)
    paper_costs.main([str(tmp_path / "costs.json")])
    lines = capsys.readouterr().out.splitlines()
    cells = {row[1]: row[2:-1] for row in ([c.strip() for c in line.split("|")] for line in lines) if len(row) > 2}
    assert cells["model"][-2:] == ["paper: tables", "paper: GMACs"]
    assert cells["trn_bninception"][-2:] == ["3", "33"] and cells["tsn_inception_v3"][-2:] == ["5", "3.2"]
    assert cells["trn_bninception"][:4] == ["eager, fp32", "8 x 224x224", "13.5 M", "16.26"]
    assert "trn_bninception: 33G is the cost of ResNet-50; that of BNInception is 16.3." in lines


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="the system does not count peaks")
def test_graphs_of_boxes_are_measured_without_a_detector():
    """Its weights are a download, and its cost is that of another network."""
    entry = BenchmarkedNetwork("nl_i3d_resnet50_gcn", 8, 64, [])
    speed = load(entry, CPU, False, "eager", "auto")
    assert speed.model.cnn.boxes is grid_boxes


def test_memory_is_that_of_the_network_alone():
    """A clip takes most at ResNet-18's first norm: its input and output, 12.8 MB each, and the images, 2.4 MB.

    They are 4 images of 64 x 112 x 112, and of 3 x 224 x 224 floats.
    """
    build = partial(load, BenchmarkedNetwork("tsn_resnet18", 4, 224, []), CPU, False, "eager", "auto")
    network = build()
    kept = [torch.ones(10_000_000) for _ in range(4)]  # other memory of this process does not count
    measure_memory(network, build, batch_size=2)
    assert len(kept) == 4 and set(network.peak_mb) == {1, 2}
    assert network.peak_mb[2] - network.peak_mb[1] == pytest.approx(2.4 + 2 * 12.8, rel=0.05)


def test_the_time_is_estimated_by_multiply_adds(monkeypatch):
    """At a second per clip and billion: passes of 1 and 4 in two rounds and before them, 1 + 1 and 1 + 4 alone."""
    networks = [Speed(name="x", model=torch.nn.Identity(), size=(8, 8), parameters=1, macs=n) for n in (3, 1, 2)]
    monkeypatch.setattr("teinet.evaluation.speed._batch", lambda network, clips: clips)
    monkeypatch.setattr("teinet.evaluation.speed._pass", lambda network, clips: network.macs * clips)
    assert expected_seconds(networks, batch_size=4, rounds=2) == (3 * 5 + 2 + 5) * (3 + 1 + 2)


def test_fewer_clips_are_timed_where_more_do_not_fit(monkeypatch, capsys):
    monkeypatch.setattr("teinet.evaluation.speed.free_memory", lambda: 1)
    assert main(["benchmark", "tsn_test_resnet", *TINY]) == 0
    out = capsys.readouterr().out
    assert ", 1 at once" in out and "Fewer clips at once" in out

    died = Done((), TaskFailure("died", "the process was ended"))
    monkeypatch.setattr("teinet.evaluation.speed.run", lambda *_, **__: iter([died]))
    assert main(["benchmark", "tsn_test_resnet", *TINY]) == 0
    assert "tsn_test_resnet is not measured: one clip does not fit" in capsys.readouterr().err
