"""MaxViT (arXiv:2204.01697) with the authors' weights, timm's `maxvit_*_tf_224`."""

from __future__ import annotations

from typing import Any

from nas.architecture import Architecture
from nas.errors import ArchitectureError
from nas.networks.network import Network
from nas.networks.timm.converting import INCEPTION, Family, State, divided, fitted, renamed
from nas.networks.timm.families.coatnet import HEAD, LINEAR, STEM, mbconv
from nas.ops import normalize

_PARTITIONS = 32
BLOCK = r"stages\.(\d)\.blocks\.(\d+)"
LAYER = r"stages.\1.layers.\2"


def transformer(theirs: str, first: int) -> tuple[tuple[str, str], ...]:
    """Returns rules for attention and feed-forward, ours from branch `first` on."""
    block, attention, feed_forward = rf"{BLOCK}\.{theirs}", rf"{LAYER}.{first}", rf"{LAYER}.{first + 1}"
    return (
        (rf"{block}\.norm1\.{LINEAR}", rf"{attention}.norm.\3"),
        (rf"{block}\.attn\.qkv\.{LINEAR}", rf"{attention}.mixer.qkv.linear.\3"),
        (rf"{block}\.attn\.rel_pos\.relative_position_bias_table", rf"{attention}.mixer.bias.table"),
        (rf"{block}\.attn\.proj\.{LINEAR}", rf"{attention}.mixer.project.linear.\3"),
        (rf"{block}\.norm2\.{LINEAR}", rf"{feed_forward}.norm.\3"),
        (rf"{block}\.mlp\.fc1\.{LINEAR}", rf"{feed_forward}.mixer.expand.\3"),
        (rf"{block}\.mlp\.fc2\.{LINEAR}", rf"{feed_forward}.mixer.project.\3"),
    )


RULES = (
    *STEM,
    *mbconv(rf"{BLOCK}\.conv", rf"{LAYER}.0"),
    *transformer("attn_block", 1),
    *transformer("attn_grid", 3),
    *HEAD,
)


def convert(state: State, network: Network) -> State:
    """Converts timm's MaxViT: its tables hold offsets from query to key, ours from key to query."""
    found = divided(renamed(state, RULES), network)
    found = {name: tensor.flip(1, 2) if name.endswith("bias.table") else tensor for name, tensor in found.items()}
    return fitted(found, network)


def sized(architecture: Architecture, side: int) -> Architecture:
    """Returns MaxViT for images of another side: its windows grow with it, and there are 32 to a side.

    Raises:
        ArchitectureError: If the side is not a multiple of 32.
    """
    if side % _PARTITIONS:
        raise ArchitectureError(f"MaxViT: the windows of images of {side}x{side} are no whole number of positions.")

    def windows(node: Any) -> Any:
        if isinstance(node, dict):
            found = {key: windows(value) for key, value in node.items()}
            return {**found, "window_size": side // _PARTITIONS} if found.get("op") == "attention" else found
        return [windows(value) for value in node] if isinstance(node, list) else node

    return normalize(Architecture.from_dict(windows(architecture.at_resolution(side).to_dict())))


SIZES = ("tiny", "small", "base", "large", "xlarge")
FAMILY = Family(
    names={f"maxvit_{size}_tf_224": f"maxvit_{size}" for size in SIZES},
    convert=convert,
    sized=sized,
    other={"maxvit_xlarge": INCEPTION},
)
