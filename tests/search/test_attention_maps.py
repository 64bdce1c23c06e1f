"""Whether a search says where attention sees too few positions."""

from __future__ import annotations

import nas
from nas.pipeline.attention_maps import attention_caution
from nas.sampling import BudgetSampler


def caution(space: str, resolution: int, train_resolution: int) -> str | None:
    sampler = BudgetSampler(nas.load_space(space).adapted(resolution=resolution))
    return attention_caution(sampler, resolution=resolution, train_resolution=train_resolution)


def test_at_the_size_that_a_space_is_made_for_attention_sees_enough() -> None:
    assert caution("coatnet", 224, 224) is None


def test_few_positions_are_said_with_the_stages_and_the_size_that_shows_them() -> None:
    said = caution("coatnet", 224, 32)
    assert said is not None
    assert said.startswith(
        "At 32 pixels attention sees few positions (4x4 in stage 2, 2x2 in stage 3, 1x1 in stage 4; below"
    )
    assert said.endswith("Use --train-resolution 224.")
    assert caution("coatnet", 224, 192) is not None, "the last stage sees 6x6"


def test_where_the_budget_is_counted_small_the_remedy_is_to_count_larger() -> None:
    said = caution("coatnet-small", 32, 32)
    assert said is not None
    assert said.endswith("Use --resolution 56, where networks have about 3 times the multiply-adds.")
    assert caution("coatnet-small", 56, 56) is None


def test_a_space_of_convolutions_needs_no_word() -> None:
    assert caution("nats-size", 32, 32) is None
