"""EfficientFormer (arXiv:2206.01191) with both heads."""

from __future__ import annotations

import re

from nas.networks.network import Network
from nas.networks.timm.converting import Family, State, divided, fitted, renamed, unflattened

NORM = r"(weight|bias|running_mean|running_var|num_batches_tracked)"
LINEAR = r"(weight|bias)"
HEAD = (
    (rf"norm\.{NORM}", r"head.norm.\1"),
    (rf"head\.{LINEAR}", r"head.linear.\1"),
    (rf"head_dist\.{LINEAR}", r"head.others.0.\1"),
)
BLOCK = r"stages\.(\d)\.blocks\.(\d+)"
LAYER = r"stages.\1.layers.\2"
RULES = (
    (rf"stem\.(\d)\.(conv|norm)\.{NORM}", r"stem.\1.\2.\3"),
    (rf"stages\.(\d)\.downsample\.(conv|norm)\.{NORM}", r"stages.\1.transition.\2.\3"),
    (rf"{BLOCK}\.ls1\.gamma", rf"{LAYER}.0.scale"),
    (rf"{BLOCK}\.ls2\.gamma", rf"{LAYER}.1.scale"),
    (rf"{BLOCK}\.mlp\.fc1\.{LINEAR}", rf"{LAYER}.1.mixer.expand.\3"),
    (rf"{BLOCK}\.mlp\.fc2\.{LINEAR}", rf"{LAYER}.1.mixer.project.\3"),
    (rf"{BLOCK}\.mlp\.norm1\.{NORM}", rf"{LAYER}.1.mixer.norm.\3"),
    (rf"{BLOCK}\.mlp\.norm2\.{NORM}", rf"{LAYER}.1.mixer.out_norm.\3"),
    (rf"{BLOCK}\.norm1\.{LINEAR}", rf"{LAYER}.0.norm.\3"),
    (rf"{BLOCK}\.norm2\.{LINEAR}", rf"{LAYER}.1.norm.\3"),
    (rf"{BLOCK}\.token_mixer\.attention_biases", rf"{LAYER}.0.mixer.bias.distances"),
    (rf"{BLOCK}\.token_mixer\.qkv\.{LINEAR}", rf"{LAYER}.0.mixer.qkv.linear.\3"),
    (rf"{BLOCK}\.token_mixer\.proj\.{LINEAR}", rf"{LAYER}.0.mixer.project.linear.\3"),
    *HEAD,
)


def convert(state: State, network: Network) -> State:
    """Converts timm's EfficientFormer."""
    found = {}
    depth = len(network.stages[-1].layers)  # pyright: ignore[reportArgumentType, reportAttributeAccessIssue]: a Stage
    for name, tensor in state.items():
        match = re.fullmatch(r"stem\.(conv|norm)([12])\.(.*)", name)
        if match:
            name = f"stem.{int(match[2]) - 1}.{match[1]}.{match[3]}"
        match = re.fullmatch(r"(stages\.\d\.blocks)\.(\d+)\.(.*)", name)
        if match and _flattened(state, match[1], depth) <= int(match[2]):
            # timm counts the flattening of the map as a block.
            name = f"{match[1]}.{int(match[2]) - 1}.{match[3]}"
        found[name] = tensor
    return fitted(unflattened(divided(renamed(found, RULES), network, by_head=True), "distances"), network)


def _flattened(state: State, blocks: str, depth: int) -> int:
    """Returns the index of timm's flattening among a stage's blocks, or one beyond them if there is none."""
    return next((i for i in range(depth) if f"{blocks}.{i}.ls1.gamma" not in state), len(state))


SIZES = ("l1", "l3", "l7")
FAMILY = Family(
    names={f"efficientformer_{size}": f"efficientformer_{size}" for size in SIZES},
    convert=convert,
    classifier="head.weight",
)
