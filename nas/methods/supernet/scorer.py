"""Shared weights as a score: how well an architecture does with the supernet's."""

from __future__ import annotations

from collections.abc import Sequence

from nas.architecture import Architecture
from nas.data import Dataset
from nas.methods.supernet.prefix_tree import score_population
from nas.networks.supernet import Supernet
from nas.training import Recipe, evaluate, recalibrate


class SupernetScorer:
    """Search-validation metric of an architecture that inherits the supernet's weights, BatchNorm recalibrated.

    The architecture is extracted first, so scoring leaves the supernet as it was and the order of trials cannot matter.

    Args:
        metric: Of `nas.training.evaluate`.
        recalibration_images: Training images that BatchNorm statistics are averaged over.
        validation_images: At most so many images of search-validation are scored on.
    """

    def __init__(
        self,
        supernet: Supernet,
        data: Dataset,
        recipe: Recipe,
        *,
        metric: str = "accuracy",
        recalibration_images: int = 1024,
        validation_images: int = 5000,
    ) -> None:
        self.supernet, self.data, self.recipe, self.metric = supernet, data, recipe, metric
        self.recalibration_images = recalibration_images
        self.validation = data.search_validation.first(validation_images)

    def score(self, architecture: Architecture) -> float:
        """The metric; higher is better."""
        network = self.supernet.extract(architecture)
        recalibrate(network, self.data, self.recipe, images=self.recalibration_images)
        return evaluate(network, self.validation, self.data, self.recipe, metric=self.metric)

    def score_many(self, architectures: Sequence[Architecture]) -> list[float]:
        """The same scores, to the last bit; what begins alike is computed once."""
        return score_population(
            self.supernet,
            architectures,
            self.data,
            self.recipe,
            metric=self.metric,
            recalibration_images=self.recalibration_images,
            validation=self.validation,
        )


def scored_metric(scorer: str, metric: str) -> str:
    """What a scorer by shared weights measures, where finalists are told apart by `metric`."""
    return "negative-loss" if scorer == "supernet-loss" else metric
