"""After which epochs finalists are validated."""

from __future__ import annotations

import pytest

from nas.methods.protocol.plan import epochs_validated


@pytest.mark.parametrize(
    ("epochs", "expected"),
    [(1, set()), (6, set()), (8, {4}), (12, {4, 8}), (30, {6, 12, 18, 24}), (300, {60, 120, 180, 240})],
)
def test_few_epochs_are_validated_and_never_the_last(epochs: int, expected: set[int]) -> None:
    assert epochs_validated(epochs) == expected
