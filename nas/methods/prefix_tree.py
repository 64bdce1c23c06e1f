"""A prefix tree (trie) of sequences, so that common prefixes are computed once."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import Any, Generic, TypeVar

K = TypeVar("K", bound=Hashable)


class PrefixTree(Generic[K]):
    """A node of a prefix tree; two sequences share the nodes of their common prefix.

    Attributes:
        value: The result of `make` for the step that leads here; None at the root.
        branches: The child nodes by step, in order of first occurrence.
        ends: Indices of the sequences that end here.
    """

    def __init__(self, value: Any = None) -> None:
        self.value = value
        self.branches: dict[K, PrefixTree[K]] = {}
        self.ends: list[int] = []

    @classmethod
    def of(cls, sequences: Iterable[Sequence[K]], make: Callable[[K], Any] = lambda step: None) -> PrefixTree[K]:
        """Builds the tree of some sequences.

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
        """Returns all nodes below this one."""
        found: list[PrefixTree[K]] = []
        waiting = [*self.branches.values()]
        while waiting:
            node = waiting.pop()
            found.append(node)
            waiting += node.branches.values()
        return found
