"""Scoring with shared weights: the metric of an architecture with the supernet's weights."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from nas.architecture import Architecture
from nas.data import Dataset
from nas.data.sharing import pack_data, unpack_data
from nas.jobs.setup import ScoringSetup
from nas.methods.supernet.packing import pack_supernet, unpack_supernet
from nas.methods.supernet.population import score_population
from nas.networks.supernet import Supernet
from nas.training import Recipe, evaluate, recalibrate


class SupernetScorer:
    """Search-validation metric of an architecture that inherits the supernet's weights, BatchNorm recalibrated.

    The subnet is extracted first, so scoring does not change the supernet, and the order of trials does not matter.

    Args:
        metric: A metric of `nas.training.evaluate`.
        recalibration_images: Number of training images for the BatchNorm statistics.
        validation_images: Maximal number of search-validation images to score on.
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
        """Returns the metric; higher is better."""
        network = self.supernet.extract(architecture)
        recalibrate(network, self.data, self.recipe, images=self.recalibration_images)
        return evaluate(network, self.validation, self.data, self.recipe, metric=self.metric)

    def score_many(self, architectures: Sequence[Architecture]) -> list[float]:
        """Returns the same scores, bit for bit; common prefixes of layers are computed once."""
        return score_population(
            self.supernet,
            architectures,
            self.data,
            self.recipe,
            metric=self.metric,
            recalibration_images=self.recalibration_images,
            validation=self.validation,
        )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SupernetScoring:
    """The source of a `SupernetScorer`, which makes it here or packs it for another process; has its arguments."""

    supernet: Supernet
    data: Dataset
    recipe: Recipe
    metric: str
    recalibration_images: int
    validation_images: int

    def make(self) -> SupernetScorer:
        """Makes the scorer in this process, on the supernet itself."""
        return SupernetScorer(
            self.supernet,
            self.data,
            self.recipe,
            metric=self.metric,
            recalibration_images=self.recalibration_images,
            validation_images=self.validation_images,
        )

    def pack(self) -> ScoringSetup:
        """Returns plain data from which to make the same scorer. On a CPU, arrays share the supernet's memory."""
        facts, arrays = pack_supernet(self.supernet)
        data, images = pack_data(
            self.data, train_images=self.recalibration_images, validation_images=self.validation_images
        )
        facts |= {
            "data": data,
            "recipe": self.recipe.to_dict(),
            "metric": self.metric,
            "recalibration_images": self.recalibration_images,
            "validation_images": self.validation_images,
        }
        return ScoringSetup(make=f"{__name__}:unpack_scorer", facts=facts, arrays=arrays | images)


def unpack_scorer(setup: ScoringSetup) -> SupernetScorer:
    """Re-creates the scorer from `pack`. It uses the arrays without a copy, and writes to none of them."""
    facts = setup.facts
    recipe = Recipe.from_dict(facts["recipe"])
    return SupernetScorer(
        unpack_supernet(facts, setup.arrays, copied=False).to(recipe.device),
        unpack_data(facts["data"], setup.arrays),
        recipe,
        metric=facts["metric"],
        recalibration_images=facts["recalibration_images"],
        validation_images=facts["validation_images"],
    )
