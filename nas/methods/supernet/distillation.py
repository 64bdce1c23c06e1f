"""Layers that a parent does not have learn its stages: from the frozen parent's input of a stage to its output.

Where a space has another kind of layer at a place than the parent (attention for a convolution, or the other way
round), nothing of the parent fits there, and such layers begin at random. Before elastic fine-tuning they learn to
reproduce the map at the end of the parent's stage from the map at its start, as blocks do in block-wise distillation
(DNA, Li et al. 2020, arXiv:1911.13053; DONNA, Moons et al. 2021, arXiv:2012.08859; Puzzle, Bercovich et al. 2024,
arXiv:2411.19146). All stages learn side by side, since each reads the parent's own maps.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from pathlib import Path

import torch

from nas.architecture import Architecture
from nas.data import Dataset
from nas.networks.inheritance.stages import MemberStage, stage_maps, stages_to_learn
from nas.networks.network import Network
from nas.networks.supernet import Supernet
from nas.progress import Progress
from nas.training import Recipe
from nas.training.loop import TrainingLoop
from nas.training.supernet import ArchitectureSource, layout_weights

MEMBERS = 2
"""Members per step, each with at least one stage to learn."""
_TRIES = 50


class StageDistillation:
    """Trains the storage of a supernet that has nothing of the parent; all else stays as it is, to the bit.

    Args:
        supernet: Filled with the parent's weights.
        source: Samples the members whose stages learn.
        parent: With its units in the supernet's order; it is frozen.
        places: Of the parent's stages among those of the space.
        fresh: Names of the supernet's tensors that have nothing of the parent.
        folder: For checkpoints.
    """

    def __init__(
        self,
        supernet: Supernet,
        source: ArchitectureSource,
        parent: Network,
        places: Sequence[int],
        fresh: Sequence[str],
        data: Dataset,
        recipe: Recipe,
        *,
        folder: Path | None = None,
    ) -> None:
        self.supernet, self._source, self._recipe = supernet, source, recipe
        self._parent, self._places = parent.to(recipe.device).eval().requires_grad_(False), places
        self._fresh = set(fresh)
        self._slots = {name.partition("/")[0] for name in fresh}
        self._weights = layout_weights(source.layouts)
        side = supernet.space.input.resolution
        image = torch.zeros(1, supernet.space.input.channels, side, side, device=recipe.device)
        self._widths = {place: x.shape[1] for place, x in self.maps(image).items()}
        self._kept = {name: value.clone() for name, value in supernet.named_buffers() if name not in self._fresh}
        self._buffers = dict(supernet.named_buffers())
        self.loop = TrainingLoop(supernet, data, recipe, self._step, folder=folder, after_step=self._after_step)

    def run(self, progress: Progress, on_epoch: Callable[[int, float, float], None]) -> None:
        """Trains to the end, or from the last checkpoint on.

        Args:
            on_epoch: Receives (epochs done, mean error, seconds of training so far); see `TrainingLoop.run`.
        """
        self.loop.resume(progress)
        progress.start("distillation", self.loop.steps, "steps")
        progress.advance(self.loop.done, restored=True)
        self.loop.run(progress, on_epoch)
        progress.finish()

    def maps(self, images: torch.Tensor) -> dict[int, torch.Tensor]:
        """Returns the parent's maps by place, without gradients."""
        with self._recipe.autocast():
            return stage_maps(self._parent, self._places, images)

    def stages(self, member: Architecture) -> list[MemberStage]:
        """Returns the stages of a member that learn."""
        return stages_to_learn(self.supernet, member, self._slots, self._widths)

    # -- inside --------------------------------------------------------------------------------------------------

    def _step(self, images: torch.Tensor, _: torch.Tensor, number: int) -> float:
        self.supernet.train()
        rng = random.Random(f"distillation-{self._recipe.seed}-{number}")
        maps, total = self.maps(images), 0.0
        stages = [stage for _ in range(MEMBERS) for stage in self._sampled(rng)]
        for stage in stages:
            with self._recipe.autocast():
                error = stage.error(self.supernet, maps) / len(stages)
            self.supernet.backward(error)
            total += error.item()
        self.supernet.publish_gradients()
        for name, parameter in self.supernet.named_parameters():
            if name not in self._fresh:
                parameter.grad = None
        return total

    def _sampled(self, rng: random.Random) -> list[MemberStage]:
        """The stages of a random member that learn; none only where members with such stages are very rare."""
        for _ in range(_TRIES):
            [layout] = rng.choices(self._source.layouts, self._weights)
            stages = self.stages(self._source.member(rng, layout))
            if stages:
                return stages
        return []

    @torch.no_grad()
    def _after_step(self) -> None:
        self.supernet.clear_gradients()
        for name, value in self._kept.items():  # BatchNorm statistics of what the parent and others share
            self._buffers[name].copy_(value)
