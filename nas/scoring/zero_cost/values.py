"""Proxies of networks, each computed once, whoever asks for it."""

from __future__ import annotations

from collections.abc import Callable

from nas.architecture import Architecture
from nas.data import Dataset
from nas.scoring.zero_cost.scorer import ZeroCostScorer


class Memory:
    """Numbers known of networks, by the network's digest and the number's name."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, str], float] = {}

    def know(self, digest: str, name: str, value: float) -> None:
        """Takes over what was computed before."""
        self._known[digest, name] = value

    def recall(self, digest: str, name: str, make: Callable[[], float]) -> float:
        """The number, made if it is not known yet."""
        found = self._known.get((digest, name))
        if found is None:
            found = self._known[digest, name] = make()
        return found


class ProxyValues:
    """Values of zero-cost proxies on one probe; NaN and infinities as they come.

    Args:
        data: Its first training images are the probe.
        seed: Of initial weights and noise.
        repeats: Networks of different initial weights whose values are averaged.
        memory: What is known already, and where what is computed goes; it must be of the same data, seed and repeats.
    """

    def __init__(self, data: Dataset, *, seed: int = 0, repeats: int = 1, memory: Memory | None = None) -> None:
        self.memory = memory or Memory()
        self._data, self._seed, self._repeats = data, seed, repeats
        self._scorers: dict[str, ZeroCostScorer] = {}

    def value(self, proxy: str, architecture: Architecture) -> float:
        """Of the proxy of that name, for the architecture's fresh network."""
        if proxy not in self._scorers:
            self._scorers[proxy] = ZeroCostScorer(proxy, self._data, seed=self._seed, repeats=self._repeats)
        return self.memory.recall(architecture.digest, proxy, lambda: self._scorers[proxy].score(architecture))


class KnownProxy:
    """One proxy as a scorer that computes no value twice."""

    def __init__(self, proxy: str, values: ProxyValues) -> None:
        self._proxy, self._values = proxy, values

    def score(self, architecture: Architecture) -> float:
        """Higher is better."""
        return self._values.value(self._proxy, architecture)
