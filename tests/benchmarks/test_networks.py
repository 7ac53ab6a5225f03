"""The comparison of networks: others' forms compute what ours do, and each row is compared with its own TSN."""

from __future__ import annotations

import json
import logging
import sys
from multiprocessing import Pipe

import pytest
import torch

from benchmarks.contenders import PEERS, AuthorsShift, Contender, TextbookTEI, build
from benchmarks.naming import machine_name
from benchmarks.networks import Cost, Measured, Worker, compare, measure, serve
from teinet.errors import ConfigError
from teinet.layers import TEI, TSM

SMALL = {"backbone": "resnet10t", "num_frames": 2, "size": 32}


def test_what_others_wrote_computes_what_ours_does():
    """Same arithmetic, other form: otherwise comparing their speed would mean nothing."""
    torch.manual_seed(0)
    x = torch.randn(8, 16, 5, 6)
    assert torch.equal(AuthorsShift(16, num_frames=4)(x), TSM(16, num_frames=4)(x))
    textbook, tei = TextbookTEI(16, num_frames=4), TEI(16, num_frames=4)
    for name in ("conv1", "conv2", "conv3"):
        getattr(tei.mem, name).load_state_dict(getattr(textbook, name).state_dict())
    with torch.no_grad():
        tei.tim.V.copy_(textbook.tim.weight[:, 0])
        torch.testing.assert_close(textbook(x), tei(x))


def test_a_network_is_timed_in_a_process_of_its_own():
    contenders = [Contender(network=name, **SMALL) for name in ("tsn", "teinet")]
    sizes = {"latency": 1, "training": 2}
    tsn, teinet = measure(contenders, measures=list(sizes), sizes=sizes, rounds=1, repeats=1)
    for cost in (tsn, teinet):
        assert all(len(cost.seconds[what]) == 1 and min(cost.seconds[what]) > 0 for what in sizes)
        assert json.loads(json.dumps(cost.to_dict()))["training"]["kept_mb"] > 0
    assert tsn.ratios["latency"] == [1.0]
    assert teinet.ratios["training"] == [teinet.seconds["training"][0] / tsn.seconds["training"][0]]
    assert teinet.kept_mb > tsn.kept_mb and teinet.parameters > tsn.parameters


def test_rounds_of_fresh_processes_are_put_together_and_one_that_fails_says_why(monkeypatch):
    started = []

    class InThisProcess(Worker):
        @classmethod
        def start(cls, cost, device):
            started.append(cost.contender.name)
            return cls(cost, None, None)

        def ask(self, request):
            if self.cost.contender.precision == "fp16":
                self.cost.failed = "no such format"
                return None
            return {"parameters": 1, "macs": 2} if request is None else {"seconds": len(started), "peak_mb": 1}

        def end(self):
            pass

    monkeypatch.setattr("benchmarks.networks.Worker", InThisProcess)
    rows = [Contender(network="tsn", **SMALL), Contender(network="tsn", engine="compiled", precision="fp16", **SMALL)]
    tsn, failed = measure(rows, measures=["latency"], sizes={"latency": 1}, rounds=2, repeats=2)
    assert tsn.seconds["latency"] == [2, 2, 3, 3] and len(started) == 3  # what failed is not tried again
    assert failed.failed == "no such format" and not failed.seconds and not failed.ratios


def test_a_process_that_cannot_build_its_network_says_why(monkeypatch):
    monkeypatch.setattr("sys.stdout", sys.stdout)
    ours, theirs = Pipe()
    try:
        serve(Contender(network="tsn", engine="compiled", precision="fp16", **SMALL), "cpu", theirs)  # no CPU's format
    finally:
        logging.disable(logging.NOTSET)
    cost = Cost(Contender(network="tsn"))
    assert Worker(cost, None, ours).ask(None) is None and "fp16 is for GPUs" in cost.failed


def test_a_row_is_compared_with_the_tsn_of_its_own_form_only():
    def cost(network: str, seconds: list[float], **form) -> Cost:
        return Cost(Contender(network=network, **form), seconds={"latency": seconds})

    costs = [
        cost("tsn", [1.0, 2.0]), cost("teinet", [2.0, 3.0]), cost("teinet", [4.0, 4.0], engine="compiled"),
        cost("teinet", [4.0, 4.0], num_frames=16),
    ]  # fmt: skip
    compare(costs)
    assert [c.ratios.get("latency") for c in costs] == [[1.0, 1.0], [2.0, 1.5], None, None]


def test_a_network_is_counted_in_its_plain_form():
    facts = Measured(Contender(network="teinet", engine="folded", **SMALL), torch.device("cpu")).facts()
    assert facts == Measured(Contender(network="teinet", **SMALL), torch.device("cpu")).facts()


@pytest.mark.parametrize("peer", [name for name in PEERS if name != "s3d"])
def test_peers_take_the_clips_that_ours_take(peer):
    model = build(Contender(network=peer, backbone="", num_frames=4, size=32), torch.device("cpu"))
    with torch.inference_mode():
        assert model(torch.zeros(2, 4, 3, 32, 32, dtype=torch.uint8)).shape == (2, 400)


def test_names_that_do_not_exist_are_refused():
    for wrong in ({"network": "teinett"}, {"engine": "fast"}, {"precision": "fp64"}, {"num_frames": 0}, {"size": 8}):
        with pytest.raises(ConfigError):
            Contender(**{"network": "tsn", **wrong})


def test_a_file_of_results_names_its_machine():
    facts = {"processor": "Intel(R) Xeon(R) CPU E5-2690 v4 @ 2.60GHz", "cores": 8}
    assert machine_name(facts) == "intel-xeon-e5-2690-v4-8-cores"
