"""Cells and their reduction blocks."""

from . import Cases

CASES: Cases = {
    "basic_block": ({"width": 12}, {"width": 16, "stride": 1}),
    "cell": ({"width": 8}, {"width": 12, "genotype": "|nor_conv_1x1~0|+|avg_pool_3x3~0|none~1|"}),
}
