"""A linear map of a batch of maps as torch's product of matrices and as a 1x1 convolution; see README.md."""

from __future__ import annotations

import csv
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch
import torch.nn.functional as F

FILE = Path(__file__).resolve().parents[2] / "results" / "speed" / "linear.csv"
# Images, positions, channels in and out.
CASES = ((16, 197, 384, 1536), (16, 197, 384, 384), (16, 3136, 96, 384), (1, 197, 384, 1536))
PAIRS = 7


def product(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
    """Returns the map by `F.linear`, (B, N, 1, C) -> (B, N, 1, width)."""
    return F.linear(x, weight, bias)


def convolution(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
    """Returns the same by `F.conv2d`."""
    return F.conv2d(x.permute(0, 3, 1, 2), weight[:, :, None, None], bias).permute(0, 2, 3, 1)


def seconds(run: Callable[..., torch.Tensor], tensors: list[torch.Tensor], upstream: torch.Tensor | None) -> float:
    """Returns CPU seconds of a forward pass, with its backward pass where there is a gradient for the output."""
    given = [tensor.detach().requires_grad_(upstream is not None) for tensor in tensors]
    began = time.process_time()
    out = run(*given)
    if upstream is not None:
        out.backward(upstream)
    return time.process_time() - began


def main() -> None:
    """Measures the two in turn and writes results/speed/linear.csv."""
    torch.set_num_threads(1)
    with FILE.open("w", newline="") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(["images", "positions", "channels", "width", "mode", "product_over_convolution", "n"])
        for images, positions, channels, width in CASES:
            tensors = [torch.randn(images, positions, 1, channels), torch.randn(width, channels), torch.randn(width)]
            for mode, upstream in (("forward", None), ("training", torch.randn(images, positions, 1, width))):
                turns = [[seconds(run, tensors, upstream) for run in (product, convolution)] for _ in range(PAIRS + 1)]
                ratio = statistics.median(slow / fast for slow, fast in turns[1:])
                table.writerow([images, positions, channels, width, mode, round(ratio, 3), PAIRS])


if __name__ == "__main__":
    main()
