"""Sequences by what they begin with, so that what begins alike is computed once."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import Any, Generic, TypeVar

K = TypeVar("K", bound=Hashable)


class PrefixTree(Generic[K]):
    """A node of a tree whose branches are steps; two sequences share all nodes up to where they part.

    Attributes:
        value: What `make` gave for the step that leads here; None at the root.
        branches: The steps that follow, in the order in which they were first met.
        ends: Places of the sequences that end here.
    """

    def __init__(self, value: Any = None) -> None:
        self.value = value
        self.branches: dict[K, PrefixTree[K]] = {}
        self.ends: list[int] = []

    @classmethod
    def of(cls, sequences: Iterable[Sequence[K]], make: Callable[[K], Any] = lambda step: None) -> PrefixTree[K]:
        """The tree of some sequences.

        Args:
            make: Called once per node, with the step that leads to it.
        """
        root: PrefixTree[K] = cls()
        for place, sequence in enumerate(sequences):
            node = root
            for step in sequence:
                if step not in node.branches:
                    node.branches[step] = cls(make(step))
                node = node.branches[step]
            node.ends.append(place)
        return root

    def nodes(self) -> list[PrefixTree[K]]:
        """All nodes below this one."""
        found: list[PrefixTree[K]] = []
        waiting = [*self.branches.values()]
        while waiting:
            node = waiting.pop()
            found.append(node)
            waiting += node.branches.values()
        return found
