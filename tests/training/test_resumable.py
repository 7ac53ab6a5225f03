"""A loader goes on where another one stopped, whatever the number of workers of either."""

from __future__ import annotations

import pytest
from torch.utils.data import Dataset

from teinet.data.dataset import Draw, EpochSampler
from teinet.training.setup import ResumableLoader


class Echo(Dataset):
    def __getitem__(self, draw: Draw) -> Draw:
        return draw


def loader(workers: int, epoch: int = 0) -> ResumableLoader:
    sampler = EpochSampler(11, seed=3, epoch=epoch)
    settings = {"num_workers": workers, "persistent_workers": workers > 0, "collate_fn": list}
    return ResumableLoader(Echo(), batch_size=2, sampler=sampler, **settings)


@pytest.mark.parametrize(("before", "after"), [(0, 0), (0, 2), (1, 0), (2, 1)])
@pytest.mark.parametrize("taken", [0, 3, 5])
def test_the_rest_of_an_epoch_and_the_next_one(before, after, taken):
    whole = list(loader(0))
    assert len(whole) == 6 == len(loader(0))
    first = loader(before)
    batches = iter(first)
    assert [next(batches) for _ in range(taken)] == whole[:taken]
    second = loader(after)
    second.load_state_dict(first.state_dict())
    assert list(second) == whole[taken:]
    assert second.state_dict() == {"taken": 6}
    second.sampler.set_epoch(1)
    assert list(second) == list(loader(0, epoch=1)) != whole


def test_a_state_from_the_end_of_an_epoch_begins_the_next():
    first, second = loader(0), loader(0, epoch=1)
    assert len(list(first)) == 6
    second.load_state_dict(first.state_dict())
    assert list(second) == list(loader(0, epoch=1))
