"""CoAtNet (arXiv:2106.04803) as timm has it: the stride in the depthwise convolution, no biases in the stem."""

from __future__ import annotations

from nas.networks.network import Network
from nas.networks.timm.converting import INCEPTION, Family, State, divided, fitted, renamed

NORM = r"(weight|bias|running_mean|running_var|num_batches_tracked)"
LINEAR = r"(weight|bias)"
STEM = (
    (rf"stem\.conv1\.{LINEAR}", r"stem.first.\1"),
    (rf"stem\.norm1\.{NORM}", r"stem.norm.\1"),
    (rf"stem\.conv2\.{LINEAR}", r"stem.second.\1"),
)
HEAD = (
    (rf"head\.norm\.{LINEAR}", r"head.norm.\1"),
    (rf"head\.pre_logits\.fc\.{LINEAR}", r"head.hidden.\1"),
    (rf"head\.fc\.{LINEAR}", r"head.linear.\1"),
)


def mbconv(theirs: str, ours: str) -> tuple[tuple[str, str], ...]:
    """Returns rules for an inverted residual at `theirs`, a pattern of two groups, and `ours`."""
    return (
        (rf"{theirs}\.shortcut\.expand\.{LINEAR}", rf"{ours}.shortcut.project.\3"),
        (rf"{theirs}\.pre_norm\.{NORM}", rf"{ours}.norm.\3"),
        (rf"{theirs}\.conv1_1x1\.weight", rf"{ours}.mixer.expand.weight"),
        (rf"{theirs}\.(norm[12])\.{NORM}", rf"{ours}.mixer.\3.\4"),
        (rf"{theirs}\.conv2_kxk\.weight", rf"{ours}.mixer.depthwise.weight"),
        (rf"{theirs}\.se\.fc1\.{LINEAR}", rf"{ours}.mixer.squeeze_excite.squeeze.\3"),
        (rf"{theirs}\.se\.fc2\.{LINEAR}", rf"{ours}.mixer.squeeze_excite.excite.\3"),
        (rf"{theirs}\.conv3_1x1\.{LINEAR}", rf"{ours}.mixer.project.\3"),
    )


BLOCK = r"stages\.([23])\.blocks\.(\d+)"
LAYER = r"stages.\1.layers.\2"
RULES = (
    *STEM,
    *mbconv(r"stages\.([01])\.blocks\.(\d+)", r"stages.\1.layers.\2.0"),
    (rf"{BLOCK}\.shortcut\.expand\.{LINEAR}", rf"{LAYER}.0.shortcut.project.\3"),
    (rf"{BLOCK}\.norm1\.(?:norm\.)?{LINEAR}", rf"{LAYER}.0.norm.\3"),
    (rf"{BLOCK}\.attn\.qkv\.{LINEAR}", rf"{LAYER}.0.mixer.qkv.linear.\3"),
    (rf"{BLOCK}\.attn\.rel_pos\.relative_position_bias_table", rf"{LAYER}.0.mixer.bias.table"),
    (rf"{BLOCK}\.attn\.proj\.{LINEAR}", rf"{LAYER}.0.mixer.project.linear.\3"),
    (rf"{BLOCK}\.norm2\.{LINEAR}", rf"{LAYER}.1.norm.\3"),
    (rf"{BLOCK}\.mlp\.fc1\.{LINEAR}", rf"{LAYER}.1.mixer.expand.\3"),
    (rf"{BLOCK}\.mlp\.fc2\.{LINEAR}", rf"{LAYER}.1.mixer.project.\3"),
    *HEAD,
)


def convert(state: State, network: Network) -> State:
    """Converts timm's CoAtNet: tables of offsets with the heads first."""
    found = divided(renamed(state, RULES), network, by_head=True)
    found = {
        name: tensor.T.unflatten(1, (round(len(tensor) ** 0.5), -1)) if name.endswith("bias.table") else tensor
        for name, tensor in found.items()
    }
    return fitted(found, network)


FAMILY = Family(
    names={f"coatnet_{size}_224": f"coatnet_{size}_dw" for size in range(6)}, convert=convert, normalization=INCEPTION
)
