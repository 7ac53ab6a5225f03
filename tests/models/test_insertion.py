"""Insertion: where a module goes, what it must not disturb, and what is refused."""

from __future__ import annotations

import copy
import pickle

import pytest
import timm
import torch
import torchvision
from torch import nn

import teinet
from teinet.errors import ConfigError
from teinet.models import insert_temporal, set_num_frames


def resnet10() -> nn.Module:
    return timm.create_model("resnet10t", num_classes=5)


def entered(cnn: nn.Module) -> list[str]:
    return [name.removesuffix(".temporal") for name, _ in cnn.named_modules() if name.endswith(".temporal")]


@pytest.mark.parametrize("stage", [2, 3, 4, 5])
def test_resnets_layers_are_the_papers_stages(stage):
    """torchvision's and timm's layer1..layer4 are res2..res5."""
    for cnn in (resnet10(), torchvision.models.resnet18()):
        assert all(name.startswith(f"layer{stage - 1}.") for name in entered(insert_temporal(cnn, stages=(stage,))))
        assert entered(cnn)


def test_only_the_residual_branch_sees_the_module():
    """With a module that erases its input, an identity block passes on what it was given."""

    class Erase(nn.Module):
        def __init__(self, channels, *, num_frames):
            super().__init__()

        def forward(self, x):
            return torch.zeros_like(x)

    cnn = timm.create_model("resnet18", zero_init_last=False).eval()
    block = cnn.layer1[1]
    x = torch.rand(2, 64, 8, 8)
    with torch.no_grad():
        assert not torch.allclose(block(x), x)
        insert_temporal(cnn, Erase, num_frames=2)
        assert torch.allclose(block(x), x)  # the branch of zeros is zero under fresh batch norms


def test_insertion_disturbs_nothing():
    cnn = resnet10()
    cnn.layer2.eval()
    modes = [m.training for m in cnn.modules()]
    state = {k: v.clone() for k, v in cnn.state_dict().items()}
    torch.manual_seed(5)
    untouched = torch.rand(3)
    torch.manual_seed(5)
    insert_temporal(cnn, "tsm")  # draws no random numbers of its own
    assert torch.equal(torch.rand(3), untouched)
    assert all(torch.equal(cnn.state_dict()[k], v) for k, v in state.items())
    assert [m.training for n, m in cnn.named_modules() if not n.endswith("temporal")] == modes


def test_the_module_follows_its_convolutions_dtype_and_device():
    assert {p.dtype for p in insert_temporal(resnet10().double(), "tei").parameters()} == {torch.float64}
    assert {p.device.type for p in insert_temporal(resnet10().to("meta"), "tei").parameters()} == {"meta"}


@pytest.mark.parametrize("clone", [copy.deepcopy, lambda net: pickle.loads(pickle.dumps(net))])
def test_copies_are_independent(clone):
    cnn = insert_temporal(timm.create_model("resnet10t", zero_init_last=False), "tei", num_frames=2).eval()
    other = clone(cnn)
    x = torch.randn(4, 3, 32, 32)
    with torch.no_grad():
        assert torch.equal(cnn(x), other(x)) and not torch.allclose(cnn(x), cnn(x.flip(0)).flip(0))
        nn.init.zeros_(other.layer1[0].conv1.temporal.tim.weight)
        assert cnn.layer1[0].conv1.temporal.tim.weight.any()
        set_num_frames(other, 4)
    lengths = [{m.num_frames for m in net.modules() if hasattr(m, "num_frames")} for net in (cnn, other)]
    assert lengths == [{2}, {4}]  # of the modules inside TEI too, in every block


def test_channels_last_reaches_every_module():
    seen, layout = [], {"memory_format": torch.channels_last}
    cnn = insert_temporal(resnet10().to(**layout), "tei", num_frames=2).eval()
    for name in entered(cnn):
        cnn.get_submodule(name).temporal.register_forward_hook(
            lambda _m, args, y: seen.append([t.is_contiguous(**layout) for t in (*args, y)])
        )
    with torch.no_grad():
        cnn(torch.randn(4, 3, 64, 64).contiguous(**layout))
    assert seen == [[True, True]] * 4


class Plain(nn.Module):
    """A CNN of one's own, of no family that the library knows."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 16, 3, padding=1)
        self.blocks = nn.ModuleList(nn.Sequential(nn.Conv2d(16, 8, 1), nn.ReLU(), nn.Conv2d(8, 16, 3)) for _ in "ab")
        self.head = nn.Linear(16, 5)

    def forward(self, x):
        x = self.stem(x)
        for block in self.blocks:
            x = x[:, :, 1:-1, 1:-1] + block(x)
        return self.head(x.mean((2, 3)))


def test_named_convolutions_of_ones_own_network_get_a_module_before_them():
    torch.manual_seed(0)
    cnn = Plain().eval()
    x = torch.rand(4, 3, 16, 16)
    with torch.no_grad():
        before = cnn(x)
        other = insert_temporal(copy.deepcopy(cnn), "tsm", num_frames=4, at=["blocks.1.0", "blocks.1.2"])
        assert entered(other) == ["blocks.1.0", "blocks.1.2"]
        assert [other.get_submodule(name).temporal.channels for name in entered(other)] == [16, 8]
        block, shift = cnn.blocks[1], teinet.layers.TSM
        y = cnn.stem(x)
        y = y[:, :, 1:-1, 1:-1] + cnn.blocks[0](y)
        inner = block[2](shift(8, num_frames=4)(block[1](block[0](shift(16, num_frames=4)(y)))))
        want = cnn.head((y[:, :, 1:-1, 1:-1] + inner).mean((2, 3)))
        torch.testing.assert_close(other(x), want)
        assert not torch.allclose(before, want)
        one = insert_temporal(cnn, "tsm", num_frames=1, at="blocks.0.0")  # a single path is a list of one
        torch.testing.assert_close(one(x).shape, before.shape)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"at": ["blocks.0.o"]}, r"Plain has no module 'blocks\.0\.o'\. Did you mean 'blocks\.\d\.[02]'"),
        ({"at": ["xyz"]}, r"no module 'xyz'\. Its convolutions: stem, blocks\.0\.0"),
        ({"at": ["blocks.1"]}, r"'blocks\.1' is a Sequential, not an nn\.Conv2d; .* such as 'blocks\.1\.0'"),
        ({"at": ["head"]}, r"'head' is a Linear, not an nn\.Conv2d\.$"),
        ({"at": ["lazy"]}, "channels yet: run the network"),
        ({"at": []}, "names no convolution"),
        ({"at": ["stem"], "stages": (4, 5)}, "leave out stages"),
        ({"at": ["stem"], "every": 2}, "leave out stages"),
    ],
)
def test_what_is_no_convolution_of_the_network_is_refused_and_the_network_left_as_it_was(options, message):
    cnn = Plain()
    cnn.lazy = nn.LazyConv2d(4, 1)
    with pytest.raises(ConfigError, match=message):
        insert_temporal(cnn, **options)
    assert not entered(cnn)


@pytest.mark.parametrize("at", [["blocks.1.0"], None])
@pytest.mark.parametrize("clone", [lambda net: net, copy.deepcopy, lambda net: pickle.loads(pickle.dumps(net))])
def test_input_of_another_shape_names_the_one_that_is_expected(at, clone):
    cnn = clone(insert_temporal(Plain() if at else resnet10(), at=at))
    with pytest.raises(ConfigError, match=r"takes frames \(B\*T, C, H, W\).*got \(1, 8, 3, 64, 64\).*flatten\(0, 1\)"):
        cnn(torch.rand(1, 8, 3, 64, 64))
    with pytest.raises(ConfigError, match=r"9 frames is not B\*T for T = 8 .*\(B\*T, C, H, W\)"):
        cnn(torch.rand(9, 3, 64, 64))
    assert cnn(torch.rand(8, 3, 64, 64)).shape == (8, 5)


def test_none_is_tsn():
    cnn = resnet10()
    assert insert_temporal(cnn, "none") is cnn and not entered(cnn)
    with pytest.raises(ConfigError, match="no temporal module"):
        set_num_frames(cnn, 4)


class Own(nn.Module):
    """A user's module, which may keep T under any name."""

    def __init__(self, channels, *, num_frames, attribute):
        super().__init__()
        setattr(self, attribute, num_frames)

    def forward(self, x):
        return x


def test_a_module_of_ones_own_is_counted_and_reached_where_it_keeps_t():
    cnn = insert_temporal(resnet10(), Own, num_frames=2, attribute="length")
    with pytest.raises(ConfigError, match=r"holds 4 temporal modules \(Own\), but none keeps T.*num_frames"):
        set_num_frames(cnn, 4)
    cnn = set_num_frames(insert_temporal(resnet10(), Own, num_frames=2, attribute="num_frames"), 4)
    assert [cnn.get_submodule(name).temporal.num_frames for name in entered(cnn)] == [4] * 4


@pytest.mark.parametrize(
    ("words", "options", "message"),
    [
        (("tey",), {}, "Did you mean 'tei'"),
        (("TEI",), {}, "Did you mean 'tei'"),
        (("none",), {"gate": "paper"}, "has no options"),
        ((), {"stages": (2, 6)}, "2, 3, 4, 5"),
        ((), {"num_frames": 0}, "num_frames"),
        ((), {"every": 1.5}, "every second block"),
    ],
)
def test_refusals(words, options, message):
    with pytest.raises(ConfigError, match=message):
        insert_temporal(resnet10(), *words, **options)


def test_what_is_no_fresh_network_with_residual_branches_is_refused():
    with torch.device("meta"), pytest.raises(ConfigError, match="no known residual branch"):
        insert_temporal(torchvision.models.alexnet())
    with pytest.raises(ConfigError, match="create_model"):
        insert_temporal("resnet50")
    net = insert_temporal(resnet10(), "tim")
    with pytest.raises(ConfigError, match="already"):
        insert_temporal(net, "tim")
    with pytest.raises(ConfigError, match="num_frames"):
        set_num_frames(net, 0)


def test_every_second_block_is_counted_within_each_stage():
    cnn = insert_temporal(timm.create_model("resnet26t"), "tsm", every=2)  # two blocks a stage
    assert [name.split(".conv1")[0] for name in entered(cnn)] == [f"layer{stage}.0" for stage in (1, 2, 3, 4)]


def test_a_stage_without_a_block_is_refused_and_the_network_left_as_it_was():
    cnn = timm.create_model("mobilenetv3_small_050")  # stage 2 holds one block, without expansion
    with pytest.raises(ConfigError, match=r"in stage 2 .*3, 4, 5"):
        insert_temporal(cnn, stages=(2, 3))
    assert not entered(cnn)
    assert entered(insert_temporal(cnn))  # all four: wherever there are blocks


def test_a_stage_whose_blocks_have_no_shortcut_names_the_option():
    cnn = timm.create_model("test_efficientnet")
    with pytest.raises(ConfigError, match="shortcut_only=False"):
        insert_temporal(cnn)
    assert entered(insert_temporal(cnn, shortcut_only=False))
