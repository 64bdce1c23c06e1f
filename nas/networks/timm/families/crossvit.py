"""CrossViT (arXiv:2103.14899)."""

from __future__ import annotations

import re

from nas.networks.network import Network
from nas.networks.timm.converting import GIVEN, Family, State, divided, renamed
from nas.networks.timm.families.encoders import BLOCK, tokens

RULES = (
    (r"norm\.(\d)\.(.*)", r"head.classifiers.\1.norm.\2"),
    (r"head\.(\d)\.(.*)", r"head.classifiers.\1.linear.\2"),
)
# Of the branch with cross-attention between the streams.
CROSS = (
    (r"projs\.(\d)\.0\.(.*)", r"over.\1.norm.\2"),
    (r"projs\.(\d)\.2\.(.*)", r"over.\1.linear.\2"),
    (r"fusion\.(\d)\.norm1\.(.*)", r"norms.\1.\2"),
    (r"fusion\.(\d)\.attn\.w(q|k|v)\.(.*)", r"attentions.\1.\2.linear.\3"),
    (r"fusion\.(\d)\.attn\.proj\.(.*)", r"attentions.\1.project.linear.\2"),
    (r"revert_projs\.(\d)\.0\.(.*)", r"back.\1.norm.\2"),
    (r"revert_projs\.(\d)\.2\.(.*)", r"back.\1.linear.\2"),
)


def convert(state: State, network: Network) -> State:
    """Converts timm's CrossViT, with patches of one convolution or (dagger) of three."""
    cross = max(int(name.split(".")[4]) for name in network.state_dict() if name.startswith("stages.0.layers.0."))
    moved: State = {}
    for name, tensor in state.items():
        block = re.fullmatch(r"blocks\.(\d)\.blocks\.(\d)\.(\d+)\.(.*)", name)
        meeting = re.fullmatch(r"blocks\.(\d)\.((?:projs|fusion|revert_projs)\..*)", name)
        patch = re.fullmatch(r"patch_embed\.(\d)\.proj\.(?:(\d)\.)?(weight|bias)", name)
        if block:
            (ours,) = renamed({block[4]: tensor}, BLOCK) or {GIVEN: tensor}
            if ours.startswith(GIVEN):
                moved[f"{GIVEN}{name}"] = tensor
                continue
            branch, part, rest = ours.split(".", 2)
            place = f"stages.0.layers.{block[1]}.{2 * int(block[3]) + int(branch)}"
            moved[f"{place}.{part}.ops.{block[2]}.{rest}"] = tensor
        elif meeting:
            (ours,) = renamed({meeting[2]: tensor}, CROSS) or {GIVEN: tensor}
            here = f"stages.0.layers.{meeting[1]}.{cross}.mixer.{ours}"
            moved[f"{GIVEN}{name}" if ours.startswith(GIVEN) else here] = tensor
        elif patch:
            # The second stream resizes its images first.
            moved[f"stem.ops.{patch[1]}.{int(patch[2] or 0) + int(patch[1])}.{patch[3]}"] = tensor
        elif not re.fullmatch(r"(cls_token|pos_embed)_\d", name):
            moved |= renamed({name: tensor}, RULES)
    last = 4 if "patch_embed.0.proj.4.weight" in state else 0
    for stream in (0, 1):
        moved[f"stem.ops.{stream}.{last + 1 + stream}.token"] = tokens(state[f"cls_token_{stream}"])
        moved[f"stem.ops.{stream}.{last + 2 + stream}.embedding"] = tokens(state[f"pos_embed_{stream}"])
    return divided(moved, network)


FAMILY = Family(
    names={
        f"crossvit_{size}_240": f"crossvit_{size}"
        for size in ("tiny", "9", "9_dagger", "small", "15", "15_dagger", "18", "18_dagger", "base")
    },
    convert=convert,
    classifier="head.0.weight",
)
