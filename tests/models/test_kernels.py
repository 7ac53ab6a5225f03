"""A whole network gives the same logits and gradients whichever form computes its temporal modules."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import teinet
from teinet.kernels import available_forms, use_form
from tests.kernels import truth
from tests.networks import wake

NAMES = ["teinet_resnet26", "tim_resnet10t", "mem_resnet10t", "se_tim_resnet10t", "teinet_mobilenetv2_050"]


def awake(name: str, **options) -> nn.Module:
    torch.manual_seed(0)
    return wake(teinet.create_model(name, num_classes=5, num_frames=4, dropout=0.0, **options))


@pytest.mark.skipif("cpu" not in available_forms(), reason="the cpu form cannot run here")
@pytest.mark.parametrize("name", NAMES)
def test_logits_and_gradients_are_those_of_the_reference(name):
    model = awake(name).eval()
    clips = torch.randn(1, 4, 3, 64, 64)
    found = {}
    for form in ("reference", "cpu"):
        with use_form(form):
            found[form] = truth.answers(model, model, clips)
    exact = truth.answers(model.double(), model, clips.double())
    for key, (ours, plain, want) in enumerate(zip(found["cpu"], found["reference"], exact, strict=True)):
        # norms, since one rounding that turns a ReLU off changes single numbers of a deep network's gradients
        wrong, allowed = ((each - want).norm() / want.norm() for each in (ours, plain))
        assert wrong <= 5 * allowed + 1e-3, f"tensor {key}: {wrong:.1e}, reference {allowed:.1e}"
        if key == 0:
            assert wrong <= 5 * allowed + 1e-6, "logits"


def test_what_was_compiled_for_the_plain_network_is_not_run_for_the_temporal_one():
    """Both are of the same classes, so a compiler must see that they differ, in either order."""
    clips = torch.randn(1, 4, 3, 32, 32)
    for names in (("tsn_test_resnet", "teinet_test_resnet"), ("teinet_test_resnet", "tsn_test_resnet")):
        torch.compiler.reset()
        with torch.no_grad():
            for name in names:
                model = awake(name).eval()
                compiled = torch.compile(model, backend="eager", fullgraph=True)
                torch.testing.assert_close(compiled(clips), model(clips))
