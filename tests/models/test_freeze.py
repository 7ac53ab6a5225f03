"""What runs before a stage, by the layers that each architecture's paper draws there."""

from __future__ import annotations

import pytest
import torch

from teinet.errors import ConfigError
from teinet.models import create_model
from teinet.models.freeze import layers_up_to

# The paths of everything with weights up to a stage, as their beginnings.
EARLY = {
    ("tsm_resnet18", 1): ("conv1", "bn1"),
    ("tsm_resnet18", 2): ("conv1", "bn1", "layer1."),
    ("teinet_resnet18", 4): ("conv1", "bn1", "layer1.", "layer2.", "layer3."),
    ("tsn_tf_efficientnet_lite0", 1): ("conv_stem", "bn1", "blocks.0."),  # 112 pixels of 224: stride 2
    ("teinet_tf_efficientnet_lite0", 3): ("conv_stem", "bn1", "blocks.0.", "blocks.1.", "blocks.2."),
    ("tim_mobilenetv2_100", 4): ("conv_stem", "bn1", *(f"blocks.{i}." for i in range(5))),
    # the norm before the next stage's convolution too
    ("tsn_convnext_atto", 2): ("stem.", "stages.0.", "stages.1.downsample.0"),
}


@pytest.mark.parametrize(("name", "stage"), EARLY)
def test_the_layers_up_to_a_stage(name, stage):
    model = create_model(name, num_classes=3, num_frames=4).train()
    state = {key: value.clone() for key, value in model.state_dict().items()}
    hooks = [len(module._forward_pre_hooks) for module in model.modules()]
    found = {id(layer) for layer in layers_up_to(model, stage, size=(64, 96))}
    own = [name for name, module in model.cnn.named_modules() if [*module.parameters(recurse=False)]]
    expected = [path for path in own if path.startswith(EARLY[name, stage])]
    assert [path for path in own if id(model.cnn.get_submodule(path)) in found] == expected
    after = model.state_dict()
    assert model.training and all(torch.equal(state[key], after[key]) for key in state)
    assert [len(module._forward_pre_hooks) for module in model.modules()] == hooks
    assert not any(module._forward_hooks for module in model.modules())


def test_nothing_comes_after_the_last_stage():
    model = create_model("tsn_resnet10t", num_classes=3, num_frames=2)
    with pytest.raises(ConfigError, match=r"no block after stage 5 \(its stages: 1, 2, 3, 4, 5\)"):
        layers_up_to(model, 5, size=(64, 64))
