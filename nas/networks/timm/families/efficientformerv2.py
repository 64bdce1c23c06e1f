"""EfficientFormerV2 (arXiv:2212.08059) with both heads."""

from __future__ import annotations

import re

from nas.networks.network import Network
from nas.networks.timm.converting import Family, State, fitted, renamed, unflattened
from nas.networks.timm.families.efficientformer import BLOCK, HEAD, LAYER, LINEAR, NORM


def normed(theirs: str, ours: str, linear: str, norm: str = "norm") -> tuple[tuple[str, str], ...]:
    """Returns rules for a convolution and its norm; the last group of `theirs` and of `ours` is not yet counted."""
    last = f"\\{re.compile(theirs).groups + 1}"
    return (
        (rf"{theirs}\.conv\.{LINEAR}", f"{ours}.{linear}.{last}"),
        (rf"{theirs}\.bn\.{NORM}", f"{ours}.{norm}.{last}"),
    )


def attention(theirs: str, ours: str) -> tuple[tuple[str, str], ...]:
    """Returns rules for the parts that both kinds of attention have."""
    return (
        (rf"{theirs}\.attention_biases", f"{ours}.bias.distances"),
        *normed(rf"{theirs}\.q(?:\.proj)?", f"{ours}.q", "linear"),
        *normed(rf"{theirs}\.k", f"{ours}.k", "linear"),
        *normed(rf"{theirs}\.v", f"{ours}.v", "linear"),
        *normed(rf"{theirs}\.v_local", f"{ours}.local", "conv"),
        *normed(rf"{theirs}\.proj", f"{ours}.project", "linear"),
        (rf"{theirs}\.talking_head1\.{LINEAR}", rf"{ours}.before.\{re.compile(theirs).groups + 1}"),
        (rf"{theirs}\.talking_head2\.{LINEAR}", rf"{ours}.after.\{re.compile(theirs).groups + 1}"),
    )


RULES = (
    *normed(r"stem\.conv(\d)", r"stem.\1", "conv"),
    # The last stage's transition is a sum of a convolution and attention.
    *normed(r"stages\.([12])\.downsample\.conv", r"stages.\1.transition", "conv"),
    *normed(r"stages\.(3)\.downsample\.conv", r"stages.\1.transition.ops.0", "conv"),
    (rf"stages\.3\.downsample\.attn\.q\.local\.{LINEAR}", r"stages.3.transition.ops.1.query_map.ops.0.\1"),
    *attention(r"stages\.(3)\.downsample\.attn", r"stages.\1.transition.ops.1"),
    # In the third stage a strided convolution comes before attention.
    *normed(r"stages\.2\.blocks\.(\d+)\.token_mixer\.stride_conv", r"stages.2.layers.\1.0.mixer.0", "conv"),
    *attention(r"stages\.2\.blocks\.(\d+)\.token_mixer", r"stages.2.layers.\1.0.mixer.1"),
    *attention(r"stages\.3\.blocks\.(\d+)\.token_mixer", r"stages.3.layers.\1.0.mixer"),
    (rf"{BLOCK}\.ls1\.gamma", rf"{LAYER}.0.scale"),
    (rf"{BLOCK}\.ls2\.gamma", rf"{LAYER}.feed.scale"),
    *normed(rf"{BLOCK}\.mlp\.fc1", rf"{LAYER}.feed.mixer", "expand"),
    *normed(rf"{BLOCK}\.mlp\.mid", rf"{LAYER}.feed.mixer", "middle", "middle_norm"),
    *normed(rf"{BLOCK}\.mlp\.fc2", rf"{LAYER}.feed.mixer", "project", "out_norm"),
    *HEAD,
)


def convert(state: State, network: Network) -> State:
    """Converts timm's EfficientFormerV2."""
    own = network.state_dict()
    found = {}
    for name, tensor in renamed(state, RULES).items():
        # The stem's blocks are counted from one there; feed-forward is our second branch where attention is the first.
        name = re.sub(r"^stem\.(\d)", lambda match: f"stem.{int(match[1]) - 1}", name)
        place = name.split(".feed.")[0]
        found[name.replace(".feed.", ".1." if f"{place}.1.scale" in own else ".0.")] = tensor
    return fitted(unflattened(found, "distances"), network)


SIZES = ("s0", "s1", "s2", "l")
FAMILY = Family(
    names={f"efficientformerv2_{size}": f"efficientformerv2_{size}" for size in SIZES},
    convert=convert,
    classifier="head.weight",
)
