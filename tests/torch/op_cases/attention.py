"""Attention with its options."""

from . import Cases, With

WINDOW = {"stride": 1, "window_size": 5}

CASES: Cases = {
    "attention": (
        {"width": 12, "head_dim": 4, "stride": 2},
        {
            "width": 24,
            "head_dim": 6,
            "num_heads": 2,
            "value_ratio": 2,
            "attention_scope": With({**WINDOW, "attention_scope": "window"}, "shifted"),
            "window_size": With({**WINDOW, "attention_scope": "grid"}, 2),
            "position": "distance",
            "stride": 1,
            "pool": "max",
            "query_stride": With({"position": "distance"}, 2),
            "kv_reduce": {"op": "conv"},
            "value_map": {"op": "conv"},
            "token_bias": With({"stride": 1, "query_source": "map"}, True, tokens=2),
            "query_source": With({"stride": 1, "position": "none"}, "tokens", tokens=2),
            "query_map": {"op": "conv"},
            "qkv_norm": {"op": "batch_norm"},
            "qkv_bias": False,
            "project": False,
            "out_activation": "relu",
            "out_bias": False,
            "out_norm": {"op": "layer_norm"},
            "scale_width": True,
            "talking_heads": True,
            "value_block": {"op": "depthwise_conv"},
            "local": {"op": "depthwise_conv"},
            "upsample": 2,
        },
    ),
}
