"""1x1 convolutions with a stride, of few channels: torch's own may write past the end of a buffer while training."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
import torch
import torch.nn.functional as F

from nas.ops import OPS, Shape

STRIDED: list[dict[str, Any]] = [
    {"op": "mbconv", "width": 16, "stride": 2},
    {"op": "conv", "width": 16, "kernel_size": 1, "stride": 2},
    {"op": "conv", "width": 16, "kernel_size": 1, "stride": 2, "padding": "same"},
    {"op": "conv_norm", "width": 16, "kernel_size": 1, "stride": 2},
]
TRAINED = """
import sys, torch
from nas.ops import Shape
from nas.ops.spec import make
torch.set_num_threads(1)
module = make({config}, Shape(4, 16, 16)).to(memory_format=torch.channels_last)
for _ in range(30):
    module(torch.randn(32, 4, 16, 16).to(memory_format=torch.channels_last)).sum().backward()
"""


@pytest.mark.parametrize("config", STRIDED)
def test_training_it_does_not_end_the_process(config: dict[str, Any]) -> None:
    done = subprocess.run([sys.executable, "-c", TRAINED.format(config=config)], check=False, capture_output=True)
    assert done.returncode == 0, done.stderr.decode()


@pytest.mark.parametrize("channels", [3, 8])
@pytest.mark.parametrize("size", [7, 8])
def test_it_gives_what_torchs_gives(channels: int, size: int) -> None:
    conv = OPS["conv"]
    module = conv(conv.Config(width=5, kernel_size=1, stride=2), Shape(channels, size, size))
    x = torch.randn(2, channels, size, size, requires_grad=True)
    y = x.detach().clone().requires_grad_()
    own, torchs = module(x), F.conv2d(y, module.weight, module.bias, stride=2)
    torch.testing.assert_close(own, torchs)
    own.square().sum().backward()
    torchs.square().sum().backward()
    torch.testing.assert_close(x.grad, y.grad)
