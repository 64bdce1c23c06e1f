"""A supernet's scorer as plain data, and made again from it in any process."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from nas.data import Dataset
from nas.data.sharing import pack_data, to_array, to_tensor, unpack_data
from nas.jobs.setup import ScoringSetup
from nas.methods.supernet.scorer import SupernetScorer
from nas.networks.loading import space_from_dict
from nas.networks.supernet import Supernet
from nas.spaces import LayerChoice, StageChoice
from nas.training import Recipe

_WEIGHTS = "weights/"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SupernetScoring:
    """A `SupernetScorer` that can be made here, or packed and made elsewhere; its arguments."""

    supernet: Supernet
    data: Dataset
    recipe: Recipe
    metric: str
    recalibration_images: int
    validation_images: int

    def make(self) -> SupernetScorer:
        """The scorer in this process, on the supernet itself."""
        return SupernetScorer(
            self.supernet,
            self.data,
            self.recipe,
            metric=self.metric,
            recalibration_images=self.recalibration_images,
            validation_images=self.validation_images,
        )

    def pack(self) -> ScoringSetup:
        """Plain data to make the same scorer from. On a CPU, arrays share the supernet's memory."""
        data, arrays = pack_data(
            self.data, train_images=self.recalibration_images, validation_images=self.validation_images
        )
        arrays |= {_WEIGHTS + name: to_array(value) for name, value in self.supernet.state_dict().items()}
        facts = {
            "kind": "supernet",
            "space": self.supernet.space.to_dict(),
            "digest": self.supernet.space.digest,
            "choices": self.supernet.choices,
            "data": data,
            "recipe": self.recipe.to_dict(),
            "metric": self.metric,
            "recalibration_images": self.recalibration_images,
            "validation_images": self.validation_images,
        }
        return ScoringSetup(facts=facts, arrays=arrays)


def unpack_supernet(setup: ScoringSetup) -> SupernetScorer:
    """The supernet's scorer that was packed. It holds the arrays themselves, no copy, and writes to none of them."""
    facts = setup.facts
    recipe = Recipe(**facts["recipe"])
    return SupernetScorer(
        shared_supernet(setup).to(recipe.device),
        unpack_data(facts["data"], setup.arrays),
        recipe,
        metric=facts["metric"],
        recalibration_images=facts["recalibration_images"],
        validation_images=facts["validation_images"],
    )


def shared_supernet(setup: ScoringSetup) -> Supernet:
    """A supernet on shared weights: frozen, and with BatchNorm statistics of its own.

    A forward pass in training mode writes new statistics in place. On shared ones that would succeed, silently, and
    change the scores of every other process.
    """
    facts = setup.facts
    space = space_from_dict(facts["space"])
    assert space.digest == facts["digest"], "the space that arrived is not the one that was sent"
    stem, *stages = facts["choices"]
    choices = [[tuple(values) for values in stem], *([_choice(fields) for fields in stage] for stage in stages)]
    with torch.device("meta"):
        supernet = Supernet(space, choices=choices)
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
