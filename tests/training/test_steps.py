"""The arithmetic of steps: loss, clipping, random numbers, batch norms frozen and recomputed, gradients accumulated."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from lightning.pytorch.callbacks import Callback
from safetensors.torch import load_file

from teinet.cli.train import parse_recipe
from teinet.models.checkpoint import save_weights
from teinet.models.factory import create_model
from teinet.training import callbacks
from teinet.training.callbacks import recompute_statistics
from teinet.training.run_dir import read_log
from teinet.training.setup import prepare
from teinet.training.trainer import CustomParts
from teinet.training.trainer import train as train_run
from tests.conftest import small


class Observer(Callback):
    """Notes what each step saw and left."""

    def __init__(self) -> None:
        self.logits: torch.Tensor | None = None
        self.losses: list[tuple[torch.Tensor, torch.Tensor, float]] = []
        self.norms: list[float] = []
        self.states: list[bytes] = []
        self.steps = 0

    def on_train_start(self, trainer, module) -> None:
        module.model.register_forward_hook(self._seen)
        self.steps_planned = module.steps_per_epoch

    def _seen(self, model, clips, logits) -> None:
        if model.training:
            self.logits = logits.detach().clone()
            self.states.append(bytes(torch.get_rng_state().tolist()))

    def on_train_batch_end(self, trainer, module, outputs, batch, batch_idx) -> None:
        self.losses.append((self.logits, batch.labels, float(outputs["loss"]) * trainer.accumulate_grad_batches))
        gradients = [p.grad for p in module.parameters() if p.grad is not None]
        self.norms.append(float(torch.nn.utils.get_total_norm(gradients)))
        self.steps = trainer.global_step


@pytest.fixture(scope="module")
def observed(clips, tmp_path_factory) -> tuple[Observer, Path]:
    """Two epochs of five batches, two of them a step, with smoothed labels and gradients clipped to a small norm."""
    words = ("--batch-size", 2, "--optim.accumulate", 2, "--optim.label_smoothing", 0.25)
    words = (*words, "--optim.clip_grad_norm", 0.01, "--output", tmp_path_factory.mktemp("observed"))
    observer = Observer()
    return observer, train_run(parse_recipe(small(clips, *words)).recipe, custom=CustomParts(callbacks=[observer]))


def test_labels_are_smoothed_by_the_share_that_is_asked_for(observed):
    """A target of 1 - s for the true class and s / C for each: the cross entropy written out."""
    for logits, labels, loss in observed[0].losses:
        target = 0.75 * torch.eye(3)[labels] + 0.25 / 3
        assert loss == pytest.approx(float(-(target * logits.log_softmax(1)).sum(1).mean()), rel=1e-5)


def test_the_gradients_norm_is_clipped(observed):
    after_steps = [norm for i, norm in enumerate(observed[0].norms) if i % 5 in (1, 3, 4)]
    assert after_steps == pytest.approx([0.01] * 6, rel=1e-3)


def test_each_step_draws_random_numbers_of_its_own(observed):
    assert len(set(observed[0].states)) == 10


def test_an_epoch_has_as_many_steps_as_the_schedule_counts(observed):
    """Nine clips, two a batch, two batches a step: the last step of an epoch holds a single clip."""
    assert observed[0].steps_planned == 3 and observed[0].steps == 6


@pytest.mark.parametrize(("network", "interpolation"), [("resnet10t", "bicubic"), ("test_resnet", "bilinear")])
def test_frames_are_resized_as_the_backbone_learned(clips, network, interpolation):
    parts = prepare(parse_recipe(small(clips, "--model", f"tsn_{network}")).recipe)
    assert parts.data.train.preprocessing.interpolation == interpolation
    assert parts.data.val.preprocessing.interpolation == interpolation
    assert parts.header({})["preprocessing"]["interpolation"] == interpolation


class Snapshots(Callback):
    """Copies the network's tensors at the end of each epoch."""

    def __init__(self) -> None:
        self.taken: list[dict[str, torch.Tensor]] = []

    def on_train_epoch_end(self, trainer, module) -> None:
        self.taken.append({name: value.clone() for name, value in module.model.state_dict().items()})


def changed_in_the_second_epoch(clips, tmp_path, *words: object) -> tuple[dict[str, torch.Tensor], set[str]]:
    """Train two epochs; the network's tensors, and the names of those that the second one changed."""
    snapshots = Snapshots()
    recipe = parse_recipe(small(clips, "--data.val_share", 0, "--output", tmp_path, *words)).recipe
    train_run(recipe, custom=CustomParts(callbacks=[snapshots]))
    one, two = snapshots.taken
    return one, {name for name in one if not torch.equal(one[name], two[name])}


def test_frozen_batch_norms_keep_their_statistics_and_weights(train, tmp_path):
    plain = create_model("tim_resnet10t", num_classes=3, num_frames=2)
    for norm in plain.modules():
        if isinstance(norm, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(norm.running_mean)
            torch.nn.init.uniform_(norm.weight, 0.5, 1)
    save_weights(tmp_path / "start.safetensors", plain, {"class_names": ["a", "b", "c"]})
    start = load_file(tmp_path / "start.safetensors")
    norms = [k for k in plain.state_dict() if "running_mean" in k]  # from the input to the head
    for which, kept in (("all", norms), ("all_but_first", norms[1:])):
        words = ("--model", "tim_resnet10t", "--weights", tmp_path / "start.safetensors", "--name", which)
        words = (*words, "--optim.freeze_bn", which, "--optim.recompute_bn", 0 if which == "all" else 1)
        assert train(*words, "--epochs", 1)[0] == 0
        end = load_file(tmp_path / which / "last.safetensors")
        still = [k for k in norms if torch.equal(start[k], end[k])]
        assert still == kept
        assert all(torch.equal(start[w], end[w]) for w in (k.replace("running_mean", "weight") for k in still))


def test_frozen_stages_keep_weights_and_statistics_and_the_rest_learns(clips, tmp_path):
    words = ("--model", "tim_resnet10t", "--optim.freeze_stages", 3, "--optim.recompute_bn", 1)
    tensors, changed = changed_in_the_second_epoch(clips, tmp_path, *words)
    early = {key for key in tensors if key.startswith(("conv1", "bn1", "layer1.", "layer2."))}
    assert early and not changed & early
    assert {k for k in tensors.keys() - early if k.endswith(("conv1.weight", "fc.weight", "running_mean"))} <= changed


@pytest.mark.parametrize("network", ["tsn", "teinet"])
def test_a_frozen_backbone_keeps_weights_and_statistics_and_the_modules_learn(clips, tmp_path, network):
    gate = () if network == "tsn" else ("--model.gate", "residual")
    words = ("--model", f"{network}_mobilenetv2_035", "--optim.freeze_backbone", True, *gate)
    tensors, learned = changed_in_the_second_epoch(clips, tmp_path, *words)
    may = {key for key in tensors if ".temporal." in key or key.startswith("classifier.")}
    fresh = {k for k in may if ".mem.conv1." in k or ".mem.conv2." in k}  # behind weights near zero: may stand yet
    assert may - fresh <= learned <= may


def test_recomputed_statistics_are_those_of_the_batches():
    torch.manual_seed(0)
    network = create_model("tim_resnet10t", num_classes=3, num_frames=2).eval()
    before = {k: v.clone() for k, v in network.state_dict().items()}
    batches = [torch.randint(0, 255, (2, 2, 3, 32, 32), dtype=torch.uint8) for _ in range(3)]
    recompute_statistics(network, batches)
    first = next(m for m in network.modules() if isinstance(m, torch.nn.BatchNorm2d))
    seen = []
    handle = first.register_forward_pre_hook(lambda m, x: seen.append(x[0]))
    with torch.no_grad():
        for batch in batches:
            network(batch)
    handle.remove()
    means = torch.stack([x.mean((0, 2, 3)) for x in seen])
    torch.testing.assert_close(first.running_mean, means.mean(0))
    after = network.state_dict()
    changed = {k for k in before if not torch.equal(before[k], after[k])}
    assert changed and all("running" in k or "num_batches" in k for k in changed)
    assert first.momentum == 0.1 and not any(m.training for m in network.modules())
    recompute_statistics(network, [])  # nothing to measure leaves what is there
    torch.testing.assert_close(first.running_mean, means.mean(0))


def test_recomputing_changes_statistics_and_nothing_else_once_an_epoch(train, monkeypatch):
    changed = []

    def recompute(model, batches, *, frozen) -> None:
        before = {name: value.clone() for name, value in model.state_dict().items()}
        recompute_statistics(model, batches, frozen=frozen)
        changed.append({name for name, value in model.state_dict().items() if not torch.equal(value, before[name])})

    monkeypatch.setattr(callbacks, "recompute_statistics", recompute)
    code, run, lines = train("--optim.recompute_bn", 2)
    assert code == 0 and lines == [] and len(changed) == 2
    statistics = {name for name in load_file(run / "last.safetensors") if "running" in name}
    assert all(statistics <= names and all("running" in n or "num_batches" in n for n in names) for names in changed)


def test_accumulated_gradients_equal_those_of_the_whole_batch(train, tmp_path):
    # one optimizer step over all 12 clips; batch norms frozen, for they see 6 clips at a time in one of the two
    common = ("--optim.freeze_bn", "all", "--model", "tim_resnet10t", "--model.dropout", 0, "--data.val_share", 0)
    losses, ends = [], []
    for batch, add in ((12, 1), (6, 2)):
        words = ("--name", add, "--batch-size", batch, "--optim.accumulate", add, "--epochs", 1, "--lr", 1)
        assert train(*common, *words)[0] == 0
        (row,) = read_log(tmp_path / str(add) / "log.csv")
        assert row["step"] == "1"
        losses.append(row["loss"])
        ends.append(load_file(tmp_path / str(add) / "last.safetensors"))
    assert losses[0] == losses[1]
    for key, value in ends[0].items():
        torch.testing.assert_close(value, ends[1][key], rtol=1e-4, atol=1e-6, msg=key)
