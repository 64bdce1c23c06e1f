"""A zero-cost proxy as a scorer of architectures."""

from __future__ import annotations

import torch

from nas.architecture import Architecture
from nas.data import Batches, Dataset
from nas.scoring.zero_cost.proxies import PROXIES, Probe
from nas.training import fresh_network

PROBE_IMAGES = 64


class ZeroCostScorer:
    """The value of a proxy for an architecture's fresh network; higher is better.

    Args:
        proxy: A name of `PROXIES`.
        data: Its first training images, without augmentation, are the probe.
        seed: Of initial weights and noise.
        repeats: Networks of different initial weights whose values are averaged.
    """

    def __init__(
        self, proxy: str, data: Dataset, *, seed: int = 0, images: int = PROBE_IMAGES, repeats: int = 1
    ) -> None:
        self.proxy, self.seed, self.repeats = PROXIES[proxy], seed, repeats
        self.resolution = data.resolution
        split = data.train.first(images)
        batches = Batches(split, batch_size=len(split), mean=data.mean, std=data.std)
        pixels, labels = next(iter(batches))
        self.probe = Probe(images=pixels, labels=labels, seed=seed)

    def score(self, architecture: Architecture) -> float:
        """The mean over `repeats` networks."""
        config = architecture.at_resolution(self.resolution)
        total = 0.0
        for repeat in range(self.repeats):
            network = fresh_network(config, seed=self.seed + repeat)
            with torch.enable_grad():
                total += self.proxy(network, self.probe)
        return total / self.repeats
