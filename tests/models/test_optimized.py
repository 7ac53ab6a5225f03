"""A network made fast for recognizing gives the answers of the one that it was made from."""

from __future__ import annotations

import copy
import pickle
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from timm.layers import BatchNormAct2d
from torch import nn

import teinet
from teinet.errors import ConfigError
from teinet.models import optimized
from teinet.models.classifier import VideoClassifier
from teinet.models.folding import fold_batch_norms
from teinet.models.optimized import can_compile, native_precision, optimize
from tests.networks import wake

CPU = torch.device("cpu")


def trained(name: str, **options) -> VideoClassifier:
    """A network whose norms have statistics, as after training."""
    torch.manual_seed(0)
    return wake(teinet.create_model(name, num_classes=5, num_frames=4, **options)).eval()


def clips(count: int = 2, size: int = 64) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (count, 4, 3, size, size), dtype=torch.uint8, generator=generator)


def same(got: torch.Tensor, want: torch.Tensor, limit: float = 1e-5) -> bool:
    return ((got - want).abs().max() <= limit * want.abs().max()).item()


# How many norms stay, since they follow no convolution but stand before one, of all.
FAMILIES = {
    "tsn_resnet10t": (0, 14), "teinet_resnet14t": (0, 19), "tsm_resnetv2_18": (9, 17), "tim_regnety_002": (0, 44),
    "teinet_mobilenetv2_050": (0, 52), "teinet_tinynet_e": (0, 31), "teinet_convnext_atto": (0, 0),
}  # fmt: skip


@pytest.mark.parametrize("name", FAMILIES)
def test_folded_it_gives_the_same_logits(name):
    model = trained(name)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    fast = optimize(model, precision="fp32")
    left, norms = FAMILIES[name]
    assert sum(isinstance(module, nn.BatchNorm2d) for module in model.modules()) == norms
    assert sum(isinstance(module, nn.BatchNorm2d) for module in fast.modules()) == left
    assert fast.optimization.norms == norms - left
    with torch.inference_mode():
        assert same(fast(clips()), model(clips()))
    after = model.state_dict()
    assert before.keys() == after.keys() and all(torch.equal(before[key], after[key]) for key in before)


def test_in_double_precision_folding_is_exact():
    """What differs in single precision is rounding, not method."""
    model = trained("teinet_resnet10t").double()
    for norm in (module for module in model.modules() if isinstance(module, nn.BatchNorm2d)):
        norm.eps = 0.1  # TensorFlow's norms have another eps than PyTorch's too
    x = clips().double() / 255
    want = model(x)
    fold_batch_norms(model.cnn, torch.randn(4, 3, 64, 64, dtype=torch.float64))
    assert same(model(x), want, 1e-12)


class Odd(nn.Module):
    """Norms that must not be folded: their convolution's output is used twice, shared, or changed on the way."""

    def __init__(self, kind: str):
        super().__init__()
        self.kind = kind
        self.conv, self.norm = nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3)
        self.act = BatchNormAct2d(3)
        self.fc = nn.Linear(3, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.conv(x)
        if self.kind == "used twice":
            y = self.norm(y) + y
        elif self.kind == "one norm for two":
            y = self.norm(y) + self.norm(self.conv(x + 1))
        elif self.kind == "something between":
            y = self.norm(y.relu())
        elif self.kind == "one convolution for two":
            y = self.norm(y) + self.conv(x + 1)
        elif self.kind == "with an activation":
            y = self.act(y)
        return self.fc(y.mean((2, 3)))


@pytest.mark.parametrize(
    "kind", ["used twice", "one norm for two", "something between", "one convolution for two", "with an activation"]
)
def test_only_a_norm_that_alone_follows_a_convolution_is_folded(kind):
    torch.manual_seed(0)
    net = Odd(kind).eval()
    for norm in (net.norm, net.act):
        norm.running_mean.normal_()
        norm.running_var.uniform_(0.5, 2)
    x = torch.randn(4, 3, 5, 5)
    with torch.no_grad():
        want = net(x)
        assert fold_batch_norms(net, x) == (kind == "with an activation")
        torch.testing.assert_close(net(x), want)


def test_in_bfloat16_it_answers_nearly_the_same():
    model = trained("teinet_resnet10t")
    fast = optimize(model, precision="bf16")
    assert next(fast.cnn.parameters()).dtype == torch.bfloat16
    assert next(model.cnn.parameters()).dtype == torch.float32
    with torch.inference_mode():
        got, want = fast(clips(4)), model(clips(4))
    assert got.dtype == torch.float32 and same(got, want, 0.03) and torch.equal(got.argmax(1), want.argmax(1))


@pytest.fixture(scope="module")
def compiled():
    """A network and its compiled form, which has no program yet where a test runs alone."""
    if not can_compile(CPU):
        pytest.skip("there is no C++ compiler here")
    model = trained("teinet_test_resnet")
    return model, optimize(model, engine="compile", precision="fp32")


def test_compiled_it_gives_the_same_logits_for_each_batch_size_and_for_each_network(compiled):
    """Two networks of the same classes, in one process: neither runs the other's program or weights."""
    other = trained("tsn_test_resnet")
    pairs = [compiled, (other, optimize(other, engine="compile", precision="fp32"))]
    for count in (4, 3, 1, 4):
        for model, fast in pairs if count > 1 else pairs[:1]:  # compiling takes a while
            with torch.inference_mode():
                assert same(fast(clips(count, 32)), model(clips(count, 32)))
    for (_, fast), sizes in zip(pairs, ([1, 4], [4]), strict=True):  # three clips were filled up to four
        assert sorted(kind[0] for kind in fast._programs) == sizes
        assert copy.deepcopy(fast)._programs == {} == pickle.loads(pickle.dumps(fast))._programs
        with pytest.raises(ConfigError, match=r"T = 4 frames, got 2.*set_num_frames"):
            fast(clips(4, 32)[:, :2])


def test_several_threads_share_one_program(compiled):
    model, fast = compiled
    inputs = [clips(1, 32).roll(k, dims=-1) for k in range(6)]
    with torch.no_grad():
        want = [model(x) for x in inputs]
    with ThreadPoolExecutor(3) as pool:
        assert all(same(got, expected) for got, expected in zip(pool.map(fast, inputs), want, strict=True))
    assert [kind[0] for kind in fast._programs].count(1) == 1


def test_another_number_of_frames_on_purpose_is_compiled_again(compiled):
    model, fast = compiled
    with torch.inference_mode():
        fast(clips(1, 32))
        for network in (model, fast):
            teinet.set_num_frames(network, 2)
        try:
            assert same(fast(clips(1, 32)[:, :2]), model(clips(1, 32)[:, :2]))
        finally:
            for network in (model, fast):
                teinet.set_num_frames(network, 4)


def test_a_subclass_with_a_forward_of_its_own_is_refused():
    class Own(VideoClassifier):
        pass

    with pytest.raises(ConfigError, match="got a Own"):
        optimize(Own(trained("tsn_resnet10t").cnn, num_frames=4))


def test_without_a_compiler_compiled_says_what_is_missing(monkeypatch):
    monkeypatch.setattr(optimized, "can_compile", lambda device: False)
    with pytest.raises(ConfigError, match=r"torch\.compile needs a C"):
        optimize(trained("tsn_test_resnet"), engine="compile")


def test_values_that_do_not_exist_are_refused():
    model = trained("tsn_test_resnet")
    for options, message in (
        ({"engine": "fold"}, "Did you mean 'folded'"),
        ({"precision": "int8"}, "precision is 'int8'"),
        ({"precision": "fp16"}, "fp16 needs a GPU"),
    ):
        with pytest.raises(ConfigError, match=message):
            optimize(model, **options)
    assert native_precision(CPU) in ("fp32", "bf16")


def test_a_network_that_takes_one_size_only_is_left_unfolded_in_words(caplog):
    class Only100(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.norm, self.fc = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Linear(4, 5)

        def forward(self, x):
            assert x.shape[-1] == 100
            return self.fc(self.norm(self.conv(x)).mean((2, 3)))

    model = VideoClassifier(Only100(), num_frames=4).eval()
    fast = optimize(model, precision="fp32")
    assert "no batch norm was folded" in caplog.text
    assert same(fast(clips(size=100)), model(clips(size=100)))
