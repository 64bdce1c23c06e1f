"""Distillation of a whole network from a teacher's soft labels."""

from __future__ import annotations

import hashlib

import torch
import torch.nn.functional as F
from torch import nn

from nas.data import Dataset
from nas.errors import RunError
from nas.training.recipe import Recipe


class SoftLabels:
    """Soft labels of a frozen teacher, a network for the same classes; it sees the same augmented batches.

    Args:
        teacher: (B, C, R, R) -> (B, classes), for the data's channels and resolution. It is moved to the recipe's
            device and set to eval mode; its parameters are left without gradients.

    Raises:
        RunError: If its classes are not as many as the data's.
    """

    def __init__(self, teacher: nn.Module, data: Dataset, recipe: Recipe) -> None:
        self.teacher, self._recipe = teacher.to(recipe.device).eval().requires_grad_(False), recipe
        shape = (2, data.info.channels, data.resolution, data.resolution)
        classes = self.logits(torch.zeros(shape, device=recipe.device)).shape[1]
        if classes != data.info.num_classes:
            raise RunError(
                f"The teacher knows {classes} classes, and the data has {data.info.num_classes}: give a teacher that "
                "was trained on these classes."
            )

    def logits(self, images: torch.Tensor) -> torch.Tensor:
        """Returns the logits of a batch, (B, classes), in float32 and without gradients."""
        with torch.no_grad(), self._recipe.autocast():
            return self.teacher(images).float()

    def loss(self, logits: torch.Tensor, images: torch.Tensor) -> torch.Tensor:
        """Returns the distance of a student's logits from the teacher's on the same images.

        The Kullback-Leibler divergence of the two softmax distributions at the recipe's temperature T, times T² so that
        its gradients do not shrink with T (Hinton et al. 2015, arXiv:1503.02531).
        """
        return self.distance(logits, self.logits(images))

    def distance(self, logits: torch.Tensor, wanted_logits: torch.Tensor) -> torch.Tensor:
        """Returns the same from the teacher's logits (B, classes), where several students learn from them."""
        warmth = self._recipe.temperature
        wanted = F.log_softmax(wanted_logits / warmth, 1)
        found = F.log_softmax(logits / warmth, 1)
        return F.kl_div(found, wanted, reduction="batchmean", log_target=True) * warmth**2

    def digest(self) -> str:
        """Returns a digest of the teacher's weights, by which a resumed training knows it.

        BatchNorm's statistics are left out: where they are estimated again, another machine has other last bits.
        """
        found = hashlib.sha256()
        for name, value in self.teacher.named_parameters():
            found.update(name.encode())
            found.update(value.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().data)
        return found.hexdigest()[:16]
