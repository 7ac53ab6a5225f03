"""Clips mixed within a batch, classes balanced, teachers: by values worked out by hand."""

from __future__ import annotations

import math

import pytest
import torch

from teinet.training.batch_changes import changed, class_weights, distillation, swap_background
from teinet.training.recipe import Recipe


def clips_of(*values: float, frames: int = 2) -> torch.Tensor:
    return torch.stack([torch.full((frames, 3, 8, 8), value) for value in values]).to(torch.uint8)


def test_mixed_clips_have_the_shares_that_their_targets_say():
    torch.manual_seed(0)
    clips, labels = clips_of(0, 200, 100), torch.tensor([0, 1, 2])
    mixed, targets = changed(clips, labels, Recipe.load(**{"optim.mixup": 0.8}), 4)
    assert mixed.dtype == torch.uint8 and mixed.shape == clips.shape and targets.shape == (3, 4)
    torch.testing.assert_close(targets.sum(1), torch.ones(3))
    colors = targets @ torch.tensor([0.0, 200.0, 100.0, 77.0])
    torch.testing.assert_close(mixed[:, 0, 0, 0, 0].float(), colors.round())


def test_a_cut_rectangle_has_the_area_that_its_target_says():
    torch.manual_seed(3)
    clips, labels = clips_of(0, 255), torch.tensor([0, 1])
    cut, targets = changed(clips, labels, Recipe.load(**{"optim.cutmix": 1.0}), 2)
    assert set(cut.unique().tolist()) == {0, 255}
    torch.testing.assert_close((cut == 255).float().mean((1, 2, 3, 4)), targets[:, 1])
    assert (cut[:, 0] == cut[:, 1]).all()  # the same rectangle in all frames


def test_both_take_turns_and_one_clip_stays_as_it_is():
    recipe = Recipe.load(**{"optim.mixup": 0.8, "optim.cutmix": 1.0})
    torch.manual_seed(0)
    taken = [changed(clips_of(0, 255), torch.tensor([0, 1]), recipe, 2)[0].unique().tolist() for _ in range(20)]
    assert {set(values) <= {0, 255} for values in taken} == {True, False}
    clip, label = clips_of(7), torch.tensor([1])
    same, target = changed(clip, label, recipe, 2)
    assert same is clip and target is label


def test_what_moves_keeps_moving_before_another_place():
    clips = clips_of(50, 150)
    clips[0, 0, :, 2:4, 2:4] = 70  # moves away in the second frame: 60 in the mean
    torch.manual_seed(0)
    swapped = swap_background(clips, 1.0)
    assert (swapped[0, :, :, 0, 0] == 150).all() and (swapped[1, :, :, 0, 0] == 50).all()
    assert (swapped[0, 0, :, 2, 2] == 160).all() and (swapped[0, 1, :, 2, 2] == 140).all()
    assert (swap_background(clips, 0.0) == clips).all()
    share = (
        swap_background(clips_of(*([0, 255] * 200)), 0.3)[:, 0, 0, 0, 0] != clips_of(*([0, 255] * 200))[:, 0, 0, 0, 0]
    )
    assert 0.2 < share.float().mean() < 0.4


def test_rare_classes_weigh_more_so_that_all_count_the_same():
    labels = torch.tensor([0] * 6 + [1] * 2 + [3] * 1)
    weights = class_weights(labels, 4)
    totals = torch.bincount(labels, minlength=4) * weights
    torch.testing.assert_close(totals, torch.tensor([3.0, 3.0, 0.0, 3.0]))
    assert weights[labels].mean() == pytest.approx(1)


def test_the_divergence_from_teachers_by_hand():
    """The mean of (1, 0)-ish and (0, 1)-ish teachers is (1/2, 1/2); the network says (3/4, 1/4)."""
    teachers = [torch.tensor([[50.0, -50.0]]), torch.tensor([[-50.0, 50.0]])]
    logits = torch.log(torch.tensor([[0.75, 0.25]]))
    by_hand = 0.5 * math.log(0.5 / 0.75) + 0.5 * math.log(0.5 / 0.25)
    assert distillation(logits, teachers, 1.0).item() == pytest.approx(by_hand, rel=1e-5)
    assert distillation(logits, [logits], 2.0).item() == pytest.approx(0, abs=1e-6)
    assert distillation(2 * logits, teachers, 2.0).item() == pytest.approx(4 * by_hand, rel=1e-5)
