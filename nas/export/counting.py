"""A second opinion on multiply-adds, from fvcore: another way to find the operations, other formulas."""

from __future__ import annotations

import math
import warnings
from typing import Any

import torch

from nas.networks.network import Network

# fvcore counts these as well; multiply-adds of convolutions and matrix products are what ours are.
ELEMENTWISE = ("aten::batch_norm", "aten::layer_norm", "aten::group_norm", "aten::instance_norm")


def fvcore_macs(config: dict[str, Any]) -> int:
    """Multiply-adds of one image through a network, by `fvcore.nn.FlopCountAnalysis`.

    fvcore traces the network on the CPU and counts by its own table; left to itself it counts normalization
    too and misses fused attention.

    Args:
        config: An architecture as plain data, at the resolution to count at.
    """
    with warnings.catch_warnings():
        # Tracing warns of Python values it fixes and of its own deprecation; neither matters to a count.
        warnings.simplefilter("ignore")
        from fvcore.nn import FlopCountAnalysis

        size = config["input"]["resolution"]
        # Not on the meta device, which tracing does not know.
        image = torch.zeros((1, config["input"]["channels"], size, size))
        return count_traced(FlopCountAnalysis(Network(config).eval(), image))


def count_traced(analysis: Any) -> int:
    """The total of an fvcore analysis, counting what we count."""
    analysis.unsupported_ops_warnings(False).uncalled_modules_warnings(False).tracer_warnings("none")
    # A handle of None would leave fvcore's own in place.
    handles = {**dict.fromkeys(ELEMENTWISE, _nothing), "aten::scaled_dot_product_attention": _attention_macs}
    analysis.set_op_handle(**handles)
    with torch.no_grad():
        return int(analysis.total())


def _nothing(_inputs: list[Any], _outputs: list[Any]) -> int:
    return 0


def _attention_macs(inputs: list[Any], _outputs: list[Any]) -> int:
    """Both products of fused attention: q (…, L, E) with k (…, S, E), the weights with v (…, S, V)."""
    query, key, value = (tensor.type().sizes() for tensor in inputs[:3])
    return math.prod(query[:-1]) * key[-2] * (query[-1] + value[-1])
