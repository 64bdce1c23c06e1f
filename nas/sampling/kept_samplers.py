"""`nas.sample`: samplers are kept between calls, since building one takes as long as thousands of samples."""

from __future__ import annotations

import random
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from threading import Lock
from typing import TypeAlias

from nas.architecture import Architecture
from nas.budget import Budget, check_budgets
from nas.costs import sized_space
from nas.sampling.budget_sampler import BudgetSampler, check_by
from nas.spaces import SearchSpace

MOST_KEPT = 8
"""Samplers that are kept; the one that was used longest ago goes first."""

Key: TypeAlias = tuple[str, tuple[Budget, ...], float]

_kept: OrderedDict[Key, BudgetSampler] = OrderedDict()
_buildable: set[str] = set()
"""Digests of the spaces whose members were found to be buildable."""
_lock = Lock()


def sample(
    space: SearchSpace,
    rng: random.Random,
    budgets: Iterable[Budget | str] | Budget | str = (),
    *,
    by: str = "layout",
    min_share: float = 0.0,
) -> Architecture:
    """Samples one architecture of a space inside budgets.

    The first call for a space and its budgets builds a `BudgetSampler`, which later calls use again; it gives what a
    fresh one would. Threads may call this side by side, each with an `rng` of its own.

    Args:
        budgets: As `nas.Budget` or its text, such as "4.2GFLOPs"; one, or several.
        by: "layout" samples a layout uniformly, then a member uniformly within it; "architecture" samples uniformly
            over all that fit.
        min_share: The least share of the budget to use.

    Raises:
        BudgetError: If no member fits, with the smallest quoted, or two budgets bound the same metric.
        SpaceError: If members cannot be built at the space's resolution, with the nearest that would do.
    """
    check_by(by)
    budgets = check_budgets(budgets)
    _check_size(space)
    if not budgets and not min_share:
        return space.sample(rng, by=by)
    return kept_sampler(space, budgets, min_share=min_share).sample(rng, by=by).architecture


def kept_sampler(space: SearchSpace, budgets: Sequence[Budget], *, min_share: float = 0.0) -> BudgetSampler:
    """Returns the sampler of a space and its budgets: the one that was built before, if it is still kept.

    Raises:
        BudgetError: As `BudgetSampler` does.
    """
    key = (space.digest, tuple(budgets), min_share)
    with _lock:
        found = _kept.get(key)
        if found is not None:
            _kept.move_to_end(key)
            return found
    found = BudgetSampler(space, budgets, min_share=min_share)  # outside the lock: it may take seconds
    with _lock:
        _kept[key] = found
        if len(_kept) > MOST_KEPT:
            _kept.popitem(last=False)
    return found


def _check_size(space: SearchSpace) -> None:
    if space.digest not in _buildable:
        sized_space(space)
        _buildable.add(space.digest)
