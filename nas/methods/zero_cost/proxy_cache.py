"""Cache of proxy values, so that each is computed once per network."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable

import torch

from nas.architecture import Architecture
from nas.data import Batches, Dataset
from nas.methods.zero_cost.probing import Probe, Probed
from nas.methods.zero_cost.proxies import PROXIES
from nas.ops.initialization import open_branches
from nas.training import fresh_network

PROBE_IMAGES = 64


class Memory:
    """Cached values of networks, by the network's digest and the value's name."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, str], float] = {}

    def know(self, digest: str, name: str, value: float) -> None:
        """Adds a value that was computed before."""
        self._known[digest, name] = value

    def recall(self, digest: str, name: str, make: Callable[[], float]) -> float:
        """Returns the value; computes it if it is not known yet."""
        found = self._known.get((digest, name))
        if found is None:
            found = self._known[digest, name] = make()
        return found


class ProxyValues:
    """Values of zero-cost proxies on one probe; infinities are kept, NaN means that a proxy has no value.

    Args:
        data: Its first training images, without augmentation, are the probe.
        seed: Random seed of initial weights and noise.
        images: Number of images of the probe.
        device: Device on which the networks are evaluated.
        memory: Cache of values; it must be for the same data, seed and images.
    """

    def __init__(
        self,
        data: Dataset,
        *,
        seed: int = 0,
        images: int = PROBE_IMAGES,
        device: str = "cpu",
        memory: Memory | None = None,
    ) -> None:
        self.memory = memory or Memory()
        self._resolution, self._seed, self._device = data.resolution, seed, device
        split = data.train.first(images)
        batches = Batches(split, batch_size=len(split), mean=data.mean, std=data.std, device=device)
        pixels, labels = next(iter(batches))
        self._probe = Probe(images=pixels, labels=labels, seed=seed)
        self._last: tuple[str, Probed] | None = None

    def value(self, proxy: str, architecture: Architecture) -> float:
        """Returns the value of a proxy for the architecture's freshly initialized network."""
        return self.memory.recall(architecture.digest, proxy, lambda: self._make(proxy, architecture))

    def values(self, proxies: Iterable[str], architecture: Architecture) -> dict[str, float]:
        """Returns the values of several proxies; those that share a quantity are computed in succession."""
        wanted = set(proxies)
        found = {name: self.value(name, architecture) for name in PROXIES if name in wanted}
        self._last = None
        return found

    def _make(self, proxy: str, architecture: Architecture) -> float:
        if self._last is None or self._last[0] != architecture.digest:
            network = fresh_network(architecture.at_resolution(self._resolution), seed=self._seed)
            open_branches(network)
            self._last = (architecture.digest, Probed(network.to(self._device), self._probe))
        try:
            with torch.enable_grad():
                return PROXIES[proxy](self._last[1])
        except torch.linalg.LinAlgError:  # pyright: ignore[reportPrivateImportUsage]
            return math.nan  # overflowed signals have no eigenvalues


class ZeroCostScorer:
    """Scores by the value of one proxy for an architecture's freshly initialized network; higher is better."""

    def __init__(self, proxy: str, values: ProxyValues) -> None:
        self._proxy, self._values = proxy, values

    def score(self, architecture: Architecture) -> float:
        """The value."""
        return self._values.value(self._proxy, architecture)
