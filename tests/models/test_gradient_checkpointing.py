"""Computing a second time changes memory and nothing else: loss, gradients, statistics."""

from __future__ import annotations

import copy
import pickle
import weakref

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import teinet
from teinet.errors import ConfigError
from teinet.kernels import use_form
from teinet.models.gradient_checkpointing import set_gradient_checkpointing
from teinet.models.insertion import temporal_modules
from tests.networks import wake


def network(name: str, **options) -> nn.Module:
    torch.manual_seed(0)
    return wake(teinet.create_model(name, num_classes=5, num_frames=4, **options)).train()


CLIPS = torch.randint(0, 256, (2, 4, 3, 48, 48), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def step(model: nn.Module) -> dict[str, torch.Tensor]:
    torch.manual_seed(1)  # of the dropout
    loss = F.cross_entropy(model(CLIPS), torch.tensor([1, 3]))
    loss.backward()
    gradients = {name: p.grad for name, p in model.named_parameters()}
    return {"loss": loss, **gradients, **dict(model.named_buffers())}


def kept(model: nn.Module) -> int:
    """Bytes that the forward pass keeps for the backward one, weights not counted."""
    found: dict[int, int] = {}

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        found[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        loss = model(CLIPS).sum()
    weights = {p.untyped_storage().data_ptr() for p in model.parameters()}
    del loss
    return sum(size for place, size in found.items() if place not in weights)


@pytest.mark.filterwarnings("ignore:A saved_tensors_hooks context:FutureWarning")
@pytest.mark.parametrize("name", ["teinet_resnet26", "tim_mobilenetv2_050"])
@pytest.mark.parametrize("what", ["temporal", "blocks"])
def test_the_same_step_with_less_memory(name, what):
    plain = network(name)
    model = set_gradient_checkpointing(copy.deepcopy(plain), what)
    assert model.state_dict().keys() == plain.state_dict().keys()
    assert kept(model) < (1.0 if what == "temporal" else 0.6) * kept(plain)
    want, got = step(plain), step(model)
    for key, value in want.items():
        torch.testing.assert_close(got[key], value, rtol=0, atol=1e-6, msg=key)


@pytest.mark.parametrize("form", ["reference", "cpu"])
def test_the_temporal_modules_output_is_not_kept_in_any_form(form):
    """Selective checkpointing keeps tensors out of sight of the hooks, so the tensors themselves are counted."""
    model = network("teinet_resnet26")
    alive: list[int] = []
    made: list[weakref.ref] = []
    for module in temporal_modules(model):
        module.register_forward_hook(lambda m, a, y: made.append(weakref.ref(y.untyped_storage())))
    for what in ("none", "temporal"):
        made.clear()
        with use_form(form):
            logits = set_gradient_checkpointing(model, what)(CLIPS)
            alive.append(sum(ref() is not None for ref in made))
        del logits
    assert alive[0] > 0 and alive[1] == 0


def test_it_can_be_changed_copied_and_switched_off():
    model = network("teinet_resnet10t", dropout=0.0)
    want = step(copy.deepcopy(model))["loss"]
    for what in ("blocks", "temporal", "none"):
        set_gradient_checkpointing(model, what)
        for each in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
            assert torch.equal(step(each)["loss"], want)
        with torch.no_grad():
            for parameter in (other := copy.deepcopy(model)).parameters():
                parameter.zero_()
        assert not torch.equal(step(other)["loss"], want)  # a copy computes with its own weights
    assert not any("forward" in module.__dict__ for module in model.modules())


def test_words_that_do_not_exist_are_refused():
    with pytest.raises(ConfigError, match="Did you mean 'blocks'"):
        set_gradient_checkpointing(network("tsn_resnet10t"), "block")
    with pytest.raises(ConfigError, match="no known residual block"):
        set_gradient_checkpointing(nn.Conv2d(3, 3, 1), "blocks")
