"""The reference workload: a fixed small network that is timed in turn with whatever is measured.

It stands for this machine's pace: while it is slow, so is everything, whatever the reason. It is written in torch.nn
alone and never changes with the op library, so that figures of two occasions can be set against it.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

SEED = 16
RESOLUTION = 64


class Reference(nn.Module):
    """Convolutions (one depthwise), attention and a feed-forward layer: 106 M multiply-adds, 1.2 M weights."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 96, 4, stride=4)
        self.conv = nn.Conv2d(96, 96, 3, padding=1)
        self.depthwise = nn.Conv2d(96, 96, 7, padding=3, groups=96)
        self.expand = nn.Conv2d(96, 384, 1)
        self.project = nn.Conv2d(384, 256, 2, stride=2)
        self.qkv = nn.Linear(256, 768)
        self.hidden = nn.Linear(256, 1024)
        self.out = nn.Linear(1024, 256)
        self.head = nn.Linear(256, 10)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        x = F.gelu(self.conv(self.stem(images)))
        x = self.project(F.gelu(self.expand(self.depthwise(x))))
        q, k, v = self.qkv(x.flatten(2).transpose(1, 2)).chunk(3, dim=-1)
        attention = (q @ k.transpose(1, 2) * 256**-0.5).softmax(dim=-1)
        x = self.out(F.gelu(self.hidden(attention @ v)))
        return self.head(x.mean(dim=1))


def reference() -> tuple[nn.Module, tuple[int, int, int]]:
    """Returns the reference network, its weights always the same, and the shape of one of its images."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(SEED)
        network = Reference().eval()
    return network, (3, RESOLUTION, RESOLUTION)
