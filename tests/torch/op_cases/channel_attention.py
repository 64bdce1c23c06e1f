"""Attention among channels, cascades of convolutions, Fourier positions."""

from . import Cases

CASES: Cases = {
    "cascade_conv": ({"groups": 2}, {"groups": 3, "kernel_size": 5}),
    "channel_attention": ({"num_heads": 2}, {"num_heads": 4, "qkv_bias": False, "out_bias": False}),
    "fourier_position": ({}, {"waves": 4, "temperature": 100}),
}
