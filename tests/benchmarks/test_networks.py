"""The comparison of networks: others' forms compute what ours do, and each row is compared with its own TSN."""

from __future__ import annotations

import json

import pytest
import torch

from benchmarks.contenders import AuthorsShift, Contender, TextbookTEI
from benchmarks.networks import SETS, Cost, Measured, compare, contenders, measure
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


def test_a_row_is_compared_with_the_tsn_of_its_own_form_only():
    def cost(network: str, seconds: list[float], **form) -> Cost:
        return Cost(Contender(network=network, **form), seconds={"latency": seconds})

    costs = [
        cost("tsn", [1.0, 2.0]), cost("teinet", [2.0, 3.0]), cost("teinet", [4.0, 4.0], engine="compile"),
        cost("teinet", [4.0, 4.0], num_frames=16),
    ]  # fmt: skip
    compare(costs)
    assert [c.ratios.get("latency") for c in costs] == [[1.0, 1.0], [2.0, 1.5], None, None]


def test_a_network_is_counted_in_its_plain_form():
    facts = Measured(Contender(network="teinet", engine="folded", **SMALL), torch.device("cpu")).facts()
    assert facts == Measured(Contender(network="teinet", **SMALL), torch.device("cpu")).facts()


@pytest.mark.parametrize("name", SETS)
def test_networks_that_are_timed_in_turns_fit_into_memory_and_have_their_tsn(name):
    """A process takes about a gigabyte. TEINet in fp32 is what those in bf16 are compared with."""
    rows = contenders(name)
    assert 3 <= len(rows) <= 19
    alone = [row for row in rows if row.backbone and row.tsn() not in rows]
    assert [row.network for row in alone] == (["teinet"] if name == "bf16" else [])
