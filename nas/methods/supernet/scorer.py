"""Scoring with shared weights: the metric of an architecture with the supernet's weights."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from nas.architecture import Architecture
from nas.data import Dataset
from nas.data.sharing import pack_data, to_array, to_tensor, unpack_data
from nas.jobs.setup import ScoringSetup
from nas.methods.supernet.population import score_population
from nas.networks.loading import space_from_dict
from nas.networks.supernet import Supernet
from nas.spaces import LayerChoice, StageChoice
from nas.training import Recipe, evaluate, recalibrate

_WEIGHTS = "weights/"


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
        data, arrays = pack_data(
            self.data, train_images=self.recalibration_images, validation_images=self.validation_images
        )
        arrays |= {_WEIGHTS + name: to_array(value) for name, value in self.supernet.state_dict().items()}
        facts = {
            "space": self.supernet.space.to_dict(),
            "digest": self.supernet.space.digest,
            "choices": self.supernet.choices,
            "kept_layers": self.supernet.kept_layers,
            "data": data,
            "recipe": self.recipe.to_dict(),
            "metric": self.metric,
            "recalibration_images": self.recalibration_images,
            "validation_images": self.validation_images,
        }
        return ScoringSetup(make=f"{__name__}:unpack_supernet", facts=facts, arrays=arrays)


def unpack_supernet(setup: ScoringSetup) -> SupernetScorer:
    """Re-creates the scorer from `pack`. It uses the arrays without a copy, and writes to none of them."""
    facts = setup.facts
    recipe = Recipe.from_dict(facts["recipe"])
    return SupernetScorer(
        shared_supernet(setup).to(recipe.device),
        unpack_data(facts["data"], setup.arrays),
        recipe,
        metric=facts["metric"],
        recalibration_images=facts["recalibration_images"],
        validation_images=facts["validation_images"],
    )


def shared_supernet(setup: ScoringSetup) -> Supernet:
    """Returns a supernet on shared weights: frozen, and with its own BatchNorm statistics.

    A forward pass in training mode writes new statistics in place; in shared memory that would silently change the
    scores of all other processes.
    """
    facts = setup.facts
    space = space_from_dict(facts["space"])
    assert space.digest == facts["digest"], "the space received differs from the space sent"
    stem, *stages = facts["choices"]
    choices = [[tuple(values) for values in stem], *([_choice(fields) for fields in stage] for stage in stages)]
    with torch.device("meta"):
        supernet = Supernet(space, choices=choices)
    supernet.kept_layers = {int(stage): [*places] for stage, places in facts["kept_layers"].items()}
    state = {
        name.removeprefix(_WEIGHTS): to_tensor(array)
        for name, array in setup.arrays.items()
        if name.startswith(_WEIGHTS)
    }
    for name, _ in supernet.named_buffers():
        state[name] = state[name].clone()
    supernet.load_state_dict(state, assign=True)
    return supernet.requires_grad_(False).eval()


def _choice(fields: tuple[Any, ...]) -> StageChoice | LayerChoice:
    return LayerChoice(*fields) if len(fields) == len(LayerChoice._fields) else StageChoice(*fields)
