"""Feed-forward branches made of convolutions."""

from . import Cases

CASES: Cases = {
    "conv_feed_forward": (
        {"expand_ratio": 2},
        {
            "width": 12,
            "expand_ratio": 1.5,
            "activation": "relu",
            "norm": {"op": "batch_norm"},
            "before": {"op": "depthwise_conv"},
            "middle": {"op": "depthwise_conv", "kernel_size": 3, "stride": 2},
            "out_norm": {"op": "layer_norm"},
            "bias": False,
        },
    ),
}
