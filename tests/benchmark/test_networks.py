"""The comparison of networks: what it counts, how it compares, what it does when one of them cannot be had."""

from __future__ import annotations

import json
import math

import pytest
import torch

from teinet.benchmark.contenders import PEERS, Contender, build
from teinet.benchmark.networks import Cost, _compare, benchmark_networks
from teinet.benchmark.picture import draw_costs
from teinet.benchmark.table2 import TABLE_2, published
from teinet.errors import ConfigError
from teinet.layers import TEI, TSM

SMALL = {"backbone": "resnet10t", "num_frames": 2, "size": 32}


def test_each_network_is_timed_in_each_round_and_compared_with_its_tsn():
    said: list[str] = []
    contenders = [Contender(network=name, **SMALL) for name in ("tsn", "teinet")]
    contenders.append(Contender(network="tsn", engine="compiled", precision="fp16", **SMALL))  # no CPU's format
    measures = ("latency", "throughput", "training")
    costs = benchmark_networks(
        contenders, measures=measures, rounds=2, repeats=2, batch_sizes={"throughput": 2}, device="cpu", say=said.append
    )
    tsn, teinet, failed = costs
    assert "fp16 is for GPUs" in failed.failed and not failed.seconds
    assert failed.to_dict()["failed"] == failed.failed
    for cost in (tsn, teinet):
        assert all(len(cost.seconds[measure]) == 4 and min(cost.seconds[measure]) > 0 for measure in measures)
        assert cost.kept_mb > 0
        told = json.loads(json.dumps(cost.to_dict()))
        assert told["latency"]["over_tsn"]["median"] == pytest.approx(cost.ratio("latency").median, abs=1e-4)
    assert tsn.ratios["latency"] == [1.0] * 4
    assert teinet.ratios["training"] == [a / b for a, b in zip(teinet.seconds["training"], tsn.seconds["training"])]
    assert teinet.kept_mb > tsn.kept_mb
    assert teinet.parameters > tsn.parameters
    order = [line.split(": ")[1] for line in said if line.startswith("repeat 2 of 2, latency, round")]
    assert order == ["tsn_resnet10t 2f", "teinet_resnet10t 2f", "teinet_resnet10t 2f", "tsn_resnet10t 2f"]


def test_the_counts_are_the_papers():
    """Table 2's parameters and multiply-adds, also of a network in its optimised form."""
    from teinet.benchmark.worker import _Measured

    folded = Contender(network="teinet", engine="folded")
    facts = _Measured(folded, torch.device("cpu")).facts()
    assert facts == {"parameters": 30_356_896, "macs": pytest.approx(32.88e9, rel=1e-3)}


@pytest.mark.parametrize("peer", [name for name in PEERS if name != "s3d"])
def test_peers_take_the_clips_that_ours_take(peer):
    model = build(Contender(network=peer, backbone="", num_frames=4, size=32), torch.device("cpu"))
    with torch.inference_mode():
        assert model(torch.zeros(2, 4, 3, 32, 32, dtype=torch.uint8)).shape == (2, 400)


def test_what_others_wrote_computes_what_ours_does():
    """Same arithmetic, other form: otherwise comparing their speed would mean nothing."""
    from teinet.benchmark.contenders import _AuthorsShift, _TextbookTEI

    torch.manual_seed(0)
    x = torch.randn(8, 16, 5, 6)
    assert torch.equal(_AuthorsShift(16, num_frames=4)(x), TSM(16, num_frames=4)(x))
    textbook, tei = _TextbookTEI(16, num_frames=4), TEI(16, num_frames=4)
    for name in ("conv1", "conv2", "conv3"):
        getattr(tei.mem, name).load_state_dict(getattr(textbook, name).state_dict())
    with torch.no_grad():
        tei.tim.V.copy_(textbook.tim.weight[:, 0])
        torch.testing.assert_close(textbook(x), tei(x))


def test_a_row_is_compared_with_the_tsn_of_its_own_form_only():
    def cost(network: str, seconds: list[float], **form) -> Cost:
        return Cost(Contender(network=network, **form), seconds={"latency": seconds})

    costs = [
        cost("tsn", [1.0, 2.0]), cost("teinet", [2.0, 3.0]), cost("teinet", [4.0, 4.0], engine="compiled"),
        cost("teinet", [4.0, 4.0], num_frames=16),
    ]  # fmt: skip
    _compare(costs)
    assert [c.ratios.get("latency") for c in costs] == [[1.0, 1.0], [2.0, 1.5], None, None]


def test_table_2_is_the_papers():
    assert len(TABLE_2) == 7
    assert published(Contender(network="teinet")) == (36.5, 46.9)
    for other in ({"num_frames": 16}, {"backbone": "resnet18"}, {"causal": True}):
        assert published(Contender(network="tsn", **other)) is None


def test_the_picture_has_a_bar_for_each_network_and_measure():
    costs = [Cost(Contender(network=n, **SMALL), seconds={"latency": [0.01, 0.02, 0.03]}) for n in ("tsn", "teinet")]
    costs.append(Cost(Contender(network="tsm", **SMALL), failed="no memory"))
    figure = draw_costs(costs, title="a machine", batch_sizes={"latency": 1})
    (axis,) = figure.axes
    assert [round(bar.get_width()) for bar in axis.patches] == [20, 20]
    assert [text.get_text() for text in axis.get_yticklabels()] == ["tsn_resnet10t 2f", "teinet_resnet10t 2f"]


def test_names_and_numbers_that_do_not_exist_are_refused():
    for wrong in ({"network": "teinett"}, {"engine": "fast"}, {"precision": "fp64"}, {"num_frames": 0}, {"size": 8}):
        with pytest.raises(ConfigError):
            Contender(**{"network": "tsn", **wrong})
    for foreign in ("tsm-authors", "r3d_18"):
        with pytest.raises(ConfigError, match="has no causal form"):
            Contender(network=foreign, causal=True)
    with pytest.raises(ConfigError, match="folding is for 2-D"):
        build(Contender(network="r3d_18", backbone="", engine="folded"), torch.device("cpu"))
    assert math.isnan(Cost(Contender(network="tsn")).kept_mb)
