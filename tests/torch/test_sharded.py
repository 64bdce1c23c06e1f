"""Batches in shards: the mean of the shards' gradients, and the same bits whoever computes them."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from nas.data import Batches
from nas.errors import OptionError
from nas.methods.supernet.plans import planned_shards
from nas.networks.supernet import Supernet
from nas.training.sharded import Shards
from nas.training.threads import threads_set

from .sharded_cases import in_group, train
from .training_cases import member, same_tensors, tiny_data, tiny_space

SPACE, DATA = tiny_space(), tiny_data()


def batch(first: int, end: int) -> tuple[torch.Tensor, torch.Tensor]:
    images, labels = next(iter(Batches(DATA.train, batch_size=12, mean=DATA.mean, std=DATA.std)))
    return images[first:end], labels[first:end]


def learn(supernet: Supernet, images: torch.Tensor, labels: torch.Tensor) -> float:
    supernet.train()
    loss = torch.nn.functional.cross_entropy(supernet(images, member(SPACE, "CA")), labels)
    supernet.backward(loss)
    return float(loss.detach())


# -- one step -------------------------------------------------------------------------------------------------


def test_a_step_has_the_mean_of_the_shards_gradients_and_of_their_batch_norm_statistics() -> None:
    alone = [Supernet(SPACE, seed=1) for _ in range(2)]
    bounds = [(0, 6), (6, 12)]
    losses = [learn(each, *batch(*part)) for each, part in zip(alone, bounds, strict=True)]
    both = Supernet(SPACE, seed=1)
    loss = Shards(2).learn(both, *batch(0, 12), lambda x, y: learn(both, x, y), batch=12)
    assert loss == pytest.approx(sum(losses) / 2, rel=1e-6)
    names = both.publish_gradients()
    assert names
    first, second, found = (dict(each.named_parameters()) for each in (*alone, both))
    for each in alone:
        each.publish_gradients()
    for name in names:
        mean = (first[name].grad + second[name].grad) / 2  # type: ignore[operator]
        torch.testing.assert_close(found[name].grad, mean, rtol=1e-5, atol=1e-7)
    one, two, now = (dict(each.named_buffers()) for each in (*alone, both))
    before = dict(Supernet(SPACE, seed=1).named_buffers())
    moved = [name for name, value in now.items() if not torch.equal(value, before[name])]
    assert {name.rpartition("/")[2] for name in moved} == {"running_mean", "running_var", "num_batches_tracked"}
    for name, value in now.items():
        if value.is_floating_point():
            torch.testing.assert_close(value, (one[name] + two[name]) / 2, rtol=1e-5, atol=1e-7)
        else:
            assert torch.equal(value, one[name])


def test_shards_of_unequal_size_weigh_what_they_have() -> None:
    both, whole = Supernet(SPACE, seed=1).eval(), Supernet(SPACE, seed=1).eval()

    def quietly(supernet: Supernet, images: torch.Tensor, labels: torch.Tensor) -> float:
        loss = torch.nn.functional.cross_entropy(supernet(images, member(SPACE, "CA")), labels)
        supernet.backward(loss)
        return float(loss.detach())

    loss = Shards(5).learn(both, *batch(0, 12), lambda x, y: quietly(both, x, y), batch=12)
    assert loss == pytest.approx(quietly(whole, *batch(0, 12)), rel=1e-5)
    both.publish_gradients()
    whole.publish_gradients()
    for found, wanted in zip(both.parameters(), whole.parameters(), strict=True):
        torch.testing.assert_close(found.grad, wanted.grad, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(("count", "ranks", "images"), [(2, 2, 12), (5, 3, 12), (4, 1, 13), (3, 2, 32)])
def test_processes_share_all_images_of_a_batch_in_their_order(count: int, ranks: int, images: int) -> None:
    rows = [Shards(count, rank=rank, ranks=ranks).rows(images) for rank in range(ranks)]
    assert [first for first, _ in rows] == [0, *(end for _, end in rows[:-1])]
    assert rows[-1][1] == images


def test_rows_of_batches_are_those_of_whole_batches() -> None:
    def made(rows: tuple[int, int] | None) -> list[tuple[torch.Tensor, torch.Tensor]]:
        generator = torch.Generator().manual_seed(3)
        batches = Batches(
            DATA.train,
            batch_size=10,
            mean=DATA.mean,
            std=DATA.std,
            augment="crop-flip",
            generator=generator,
            shuffle=True,
            drop_last=True,
            rows=rows,
        )
        return list(batches)

    whole, first, second = made(None), made((0, 4)), made((4, 10))
    assert len(whole) == len(first) == len(second) == 4
    for (images, labels), *parts in zip(whole, first, second, strict=True):
        assert torch.equal(torch.cat([part[0] for part in parts]), images)
        assert torch.equal(torch.cat([part[1] for part in parts]), labels)


# -- whole trainings ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("strategy", ["sandwich", "single-path"])
def test_gradients_without_batch_statistics_are_those_of_undivided_batches(strategy: str) -> None:
    """Of the first step only: AdamW makes much of small differences."""
    whole, parts = train(Shards(), strategy=strategy, still=True), train(Shards(3), strategy=strategy, still=True)
    assert whole.gradients[0].keys() == parts.gradients[0].keys()
    for name, gradient in whole.gradients[0].items():
        torch.testing.assert_close(parts.gradients[0][name], gradient, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    ("ranks", "count", "strategy", "still"),
    [(2, 2, "sandwich", False), (2, 3, "single-path", False), (2, 2, "sandwich", True)],
)
def test_a_group_ends_with_the_bits_of_one_process_on_the_same_shards(
    tmp_path: Path, ranks: int, count: int, strategy: str, still: bool
) -> None:
    here = train(Shards(count), strategy=strategy, still=still)
    group = in_group(tmp_path, ranks=ranks, count=count, strategy=strategy, still=still)
    for one in group:
        assert all(same_tensors(a, b) for a, b in zip(one.gradients, here.gradients, strict=True))
        assert same_tensors(one.state, here.state)
    assert [one.losses for one in group] == [here.losses, *([] for _ in group[1:])]
    if still:
        whole = train(Shards(), strategy=strategy, still=True)
        for name, gradient in whole.gradients[0].items():
            torch.testing.assert_close(group[0].gradients[0][name], gradient, rtol=1e-4, atol=1e-6)


def test_shards_see_batch_statistics_of_their_own() -> None:
    with threads_set(1):
        assert not same_tensors(train(Shards()).state, train(Shards(2)).state)


# -- how many -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("workers", "batch_size", "shards"), [(1, 64, 1), (2, 64, 2), (8, 64, 4), (8, 12, 1)])
def test_there_are_as_many_shards_as_workers_unless_they_would_be_small(
    workers: int, batch_size: int, shards: int
) -> None:
    assert planned_shards(workers, batch_size, given=False) == shards


def test_more_shards_than_pairs_of_images_are_refused() -> None:
    assert planned_shards(32, 64, given=True) == 32
    with pytest.raises(OptionError, match=r"--shards 33: .* a batch has 64\. Give at most --shards 32"):
        planned_shards(33, 64, given=True)
