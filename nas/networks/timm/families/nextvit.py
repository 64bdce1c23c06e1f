"""Next-ViT (Li et al. 2022, arXiv:2207.05501)."""

from __future__ import annotations

from nas.networks.network import Network
from nas.networks.timm.converting import Family, State, fitted, renamed

_MHCA = {"group_conv3x3": 0, "norm": 1, "projection": 3}


def convert(state: State, network: Network) -> State:
    """Converts timm's Next-ViT: its blocks are our layers, each part of them one of our branches."""
    found: State = {}
    for name, tensor in state.items():
        if name.startswith("stem."):
            _, i, part, end = name.split(".")
            found[f"stem.{3 * int(i) + (part == 'norm')}.{end}"] = tensor
    stages = {tuple(map(int, (name.split(".")[1], name.split(".")[3]))) for name in state if name.startswith("stages.")}
    for stage, block in sorted(stages):
        start = f"stages.{stage}.blocks.{block}."
        part = {name.removeprefix(start): tensor for name, tensor in state.items() if name.startswith(start)}
        found |= _block(part, stage, block)
    rest = {name: tensor for name, tensor in state.items() if not name.startswith(("stem.", "stages."))}
    found |= renamed(rest, [(r"norm\.(.*)", r"head.norm.\1"), (r"head\.fc\.(.*)", r"head.linear.\1")])
    return fitted(found, network)


def _block(part: State, stage: int, block: int) -> State:
    """Converts one block: the change of width is the stage's transition, or a branch of its own."""
    embeds = "patch_embed.conv.weight" in part
    layer = f"stages.{stage}.layers.{block}."
    first = int(embeds and block > 0)
    embed = f"{layer}0.mixer." if block else f"stages.{stage}.transition."
    pool = int(block == 0 and stage > 0)
    rules = [(r"patch_embed\.conv\.(.*)", rf"{embed}{pool}.\1"), (r"patch_embed\.norm\.(.*)", rf"{embed}{pool + 1}.\1")]
    if "e_mhsa.q.weight" in part:
        mixed = f"{layer}{first + 1}.mixer.ops.1."
        rules += [
            (r"norm1\.(.*)", rf"{layer}{first}.norm.\1"),
            (r"e_mhsa\.([qkv])\.(.*)", rf"{layer}{first}.mixer.\1.linear.\2"),
            (r"e_mhsa\.proj\.(.*)", rf"{layer}{first}.mixer.project.linear.\1"),
            (r"e_mhsa\.norm\.(.*)", rf"{layer}{first}.mixer.kv_reduce.1.\1"),
            (r"projection\.conv\.(.*)", rf"{mixed}0.\1"),
            (r"projection\.norm\.(.*)", rf"{mixed}1.\1"),
            *((rf"mhca\.{theirs}\.(.*)", rf"{mixed}2.mixer.{ours}.\1") for theirs, ours in _MHCA.items()),
        ]
        last = f"{layer}{first + 2}."
        norm = "norm2"
    else:
        rules += [(rf"mhca\.{theirs}\.(.*)", rf"{layer}{first}.mixer.{ours}.\1") for theirs, ours in _MHCA.items()]
        last = f"{layer}{first + 1}."
        norm = "norm"
    rules += [
        (rf"{norm}\.(.*)", rf"{last}norm.\1"),
        (r"mlp\.fc1\.(.*)", rf"{last}mixer.expand.\1"),
        (r"mlp\.fc2\.(.*)", rf"{last}mixer.project.\1"),
    ]
    return renamed(part, rules)


FAMILY = Family(
    names={name: name for name in ("nextvit_small", "nextvit_base", "nextvit_large")},
    convert=convert,
)
