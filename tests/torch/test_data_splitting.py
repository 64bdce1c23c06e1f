import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from nas.data.splitting import apportion, hold_out, purpose_generator

counts_of_classes = st.lists(st.integers(min_value=3, max_value=40), min_size=2, max_size=6)
shares = st.floats(min_value=0.05, max_value=0.95)
seeds = st.integers(min_value=-(2**70), max_value=2**70)


def labels_of(counts: list[int]) -> torch.Tensor:
    return torch.repeat_interleave(torch.arange(len(counts)), torch.tensor(counts))


@settings(deadline=None)
@given(counts=counts_of_classes, share=shares, keep=st.integers(min_value=1, max_value=2))
def test_each_class_gives_its_share_within_one_image_and_keeps_what_it_must(counts, share, keep):
    for count, quota in zip(counts, apportion(counts, share, keep=keep), strict=True):
        assert 1 <= quota <= count - keep
        assert abs(quota - share * count) < 1 or quota in (1, count - keep)


def test_shares_add_up_to_the_share_of_the_total():
    assert apportion([178, 182, 177, 183, 181, 182, 181, 179, 174, 180], 0.2) == [
        36, 36, 35, 37, 36, 36, 36, 36, 35, 36,
    ]  # fmt: skip
    assert sum(apportion([7] * 10, 0.25)) == round(0.25 * 70)


@settings(max_examples=50, deadline=None)
@given(counts=counts_of_classes, share=shares, seed=seeds)
def test_holding_out_is_a_stratified_partition(counts, share, seed):
    labels = labels_of(counts)
    kept, held = hold_out(labels, share=share, generator=purpose_generator(seed, "test"))
    assert sorted(kept.tolist() + held.tolist()) == list(range(len(labels)))
    assert torch.bincount(labels[held], minlength=len(counts)).tolist() == apportion(counts, share)


@settings(max_examples=25, deadline=None)
@given(counts=counts_of_classes, share=shares, seed=seeds)
def test_the_same_seed_divides_alike(counts, share, seed):
    labels = labels_of(counts)
    first, second = (hold_out(labels, share=share, generator=purpose_generator(seed, "test")) for _ in range(2))
    assert torch.equal(first[0], second[0])
    assert torch.equal(first[1], second[1])


def test_seeds_and_purposes_divide_differently():
    labels = labels_of([50, 50])
    divisions = {
        tuple(sorted(hold_out(labels, share=0.5, generator=purpose_generator(seed, purpose))[1].tolist()))
        for seed in (0, 1)
        for purpose in ("test", "search_validation")
    }
    assert len(divisions) == 4


def test_the_kept_and_the_held_are_in_random_order():
    labels = labels_of([100, 100])
    kept, held = hold_out(labels, share=0.5, generator=purpose_generator(0, "test"))
    for indices in (kept, held):
        assert 10 < int(labels[indices[:50]].sum()) < 40, "a prefix is a fair sample"


def test_the_division_of_a_seed_never_changes():
    kept, held = hold_out(labels_of([5, 5]), share=0.2, generator=purpose_generator(0, "test"))
    assert (kept.tolist(), held.tolist()) == ([3, 5, 0, 7, 8, 9, 2, 1], [4, 6])
