"""The comparison of networks: others' forms compute what ours do, and each row is compared with its own TSN."""

from __future__ import annotations

import json

import pytest
import torch

from benchmarks.contenders import PEERS, AuthorsShift, Contender, TextbookTEI, build
from benchmarks.naming import machine_name
from benchmarks.networks import Cost, Measured, compare, measure
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


def test_each_network_is_timed_in_each_round_and_one_that_fails_says_why():
    contenders = [Contender(network=name, **SMALL) for name in ("tsn", "teinet")]
    contenders.append(Contender(network="tsn", engine="compiled", precision="fp16", **SMALL))  # no CPU's format
    sizes = {"latency": 1, "training": 2}
    tsn, teinet, failed = measure(contenders, measures=list(sizes), sizes=sizes, rounds=2, repeats=2)
    assert "fp16 is for GPUs" in failed.failed and not failed.seconds
    for cost in (tsn, teinet):
        assert all(len(cost.seconds[what]) == 4 and min(cost.seconds[what]) > 0 for what in sizes)
        assert json.loads(json.dumps(cost.to_dict()))["training"]["kept_mb"] > 0
    assert tsn.ratios["latency"] == [1.0] * 4
    assert teinet.ratios["training"] == [a / b for a, b in zip(teinet.seconds["training"], tsn.seconds["training"])]
    assert teinet.kept_mb > tsn.kept_mb and teinet.parameters > tsn.parameters


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
