"""MobileViT (arXiv:2110.02178)."""

from __future__ import annotations

import re

from nas.networks.network import Network
from nas.networks.timm.converting import PLAIN, Family, State, divided, fitted, renamed

NORM = r"(weight|bias|running_mean|running_var|num_batches_tracked)"
LINEAR = r"(weight|bias)"
BLOCK = r"stages\.(\d)\.(\d)"
BRANCH = r"stages.\1.layers.\2.0"
INSIDE = rf"{BRANCH}.mixer.0.ops.1"
RULES = (
    (r"(stem|final_conv)\.conv\.weight", r"\1.conv.weight"),
    (rf"(stem|final_conv)\.bn\.{NORM}", r"\1.norm.\2"),
    (rf"{BLOCK}\.conv1_1x1\.conv\.weight", rf"{BRANCH}.mixer.expand.weight"),
    (rf"{BLOCK}\.conv1_1x1\.bn\.{NORM}", rf"{BRANCH}.mixer.norm.\3"),
    (rf"{BLOCK}\.conv2_kxk\.conv\.weight", rf"{BRANCH}.mixer.middle.weight"),
    (rf"{BLOCK}\.conv2_kxk\.bn\.{NORM}", rf"{BRANCH}.mixer.middle_norm.\3"),
    (rf"{BLOCK}\.conv3_1x1\.conv\.weight", rf"{BRANCH}.mixer.project.weight"),
    (rf"{BLOCK}\.conv3_1x1\.bn\.{NORM}", rf"{BRANCH}.mixer.out_norm.\3"),
    (rf"{BLOCK}\.conv_kxk\.conv\.weight", rf"{INSIDE}.0.conv.weight"),
    (rf"{BLOCK}\.conv_kxk\.bn\.{NORM}", rf"{INSIDE}.0.norm.\3"),
    (rf"{BLOCK}\.conv_1x1\.weight", rf"{INSIDE}.1.weight"),
    (rf"{BLOCK}\.(\d+)\.norm[12]\.{LINEAR}", rf"{INSIDE}.2.\3.norm.\4"),
    (rf"{BLOCK}\.(\d+)\.attn\.qkv\.{LINEAR}", rf"{INSIDE}.2.\3.mixer.qkv.linear.\4"),
    (rf"{BLOCK}\.(\d+)\.attn\.proj\.{LINEAR}", rf"{INSIDE}.2.\3.mixer.project.linear.\4"),
    (rf"{BLOCK}\.(\d+)\.mlp\.fc1\.{LINEAR}", rf"{INSIDE}.2.\3.mixer.expand.\4"),
    (rf"{BLOCK}\.(\d+)\.mlp\.fc2\.{LINEAR}", rf"{INSIDE}.2.\3.mixer.project.\4"),
    (rf"{BLOCK}\.norm\.{LINEAR}", rf"{INSIDE}.3.\3"),
    (rf"{BLOCK}\.conv_proj\.conv\.weight", rf"{INSIDE}.4.conv.weight"),
    (rf"{BLOCK}\.conv_proj\.bn\.{NORM}", rf"{INSIDE}.4.norm.\3"),
    (rf"{BLOCK}\.conv_fusion\.conv\.weight", rf"{BRANCH}.mixer.1.conv.weight"),
    (rf"{BLOCK}\.conv_fusion\.bn\.{NORM}", rf"{BRANCH}.mixer.1.norm.\3"),
    (rf"head\.fc\.{LINEAR}", r"head.linear.\1"),
)


def convert(state: State, network: Network) -> State:
    """Converts timm's MobileViT."""
    found = {_counted(name): tensor for name, tensor in state.items()}
    found = {name.replace("final_conv", "head.before"): tensor for name, tensor in renamed(found, RULES).items()}
    return fitted(divided(found, network), network)


def _counted(name: str) -> str:
    """Converts a name of timm's transformer block to that of our two residual branches."""

    def branches(match: re.Match[str]) -> str:
        return f".{2 * int(match[1]) + (match[2] in ('norm2', 'mlp'))}.{match[2]}."

    return re.sub(r"\.transformer\.(\d+)\.(norm1|attn|norm2|mlp)\.", branches, name)


SIZES = ("xxs", "xs", "s")
FAMILY = Family(
    names={f"mobilevit_{size}": f"mobilevit_{size}" for size in SIZES}, convert=convert, normalization=PLAIN
)
