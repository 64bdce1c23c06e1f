"""Formats of architectures and of space files: data of an earlier one becomes that of this version's when it is read.

Format 1 is that of version 0.1. Format 2 spells the parameters of ops as torch, timm and mamba-ssm do.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any, cast

from nas.strict_yaml import canonical_json

FORMAT = 2
"""The format that this version writes."""

RENAMED_PARAMETERS: dict[str, dict[str, str]] = {
    "attention": {
        "heads": "num_heads",
        "queries": "query_source",
        "scope": "attention_scope",
        "talking": "talking_heads",
        "window": "window_size",
    },
    "bottleneck": {"ratio": "bottle_ratio"},
    "carrier_tokens": {"window": "window_size"},
    "channel_attention": {"heads": "num_heads"},
    "class_token": {"tokens": "num_tokens"},
    "classifier": {"heads": "num_heads"},
    "cross_streams": {"heads": "num_heads"},
    "group_norm": {"groups": "num_groups"},
    "mamba": {"rank": "dt_rank", "state": "d_state", "window": "window_size"},
    "mlp_position": {"window": "window_size"},
    "pool": {"ceil": "ceil_mode", "count_padding": "count_include_pad"},
    "reparam_conv": {"small": "small_kernel"},
    "resize": {"over": "denominator", "times": "numerator"},
    "squeeze_excite": {"width": "rd_channels"},
    "transposed_conv": {"factor": "scale_factor"},
    "upsample": {"factor": "scale_factor"},
}
"""By op, the names of format 1 and those of format 2."""


def upgrade(plain: Mapping[str, Any]) -> dict[str, Any]:
    """Returns an architecture or a space file of format 1 as format 2 has it; the given data stays as it is.

    A space's choices keep the names that its author gave them, and an op that is itself a choice (`op: $mixer`) keeps
    its parameters.
    """
    # A section `about` is for people, whatever it holds.
    upgraded = {key: value if key == "about" else rename_parameters(value) for key, value in plain.items()}
    return {**upgraded, "format": FORMAT}


def rename_parameters(plain: Any) -> Any:
    """Returns plain data of format 1 with the parameters of format 2 in every block, however deeply nested."""
    if isinstance(plain, list | tuple):
        return [rename_parameters(item) for item in cast("list[Any]", plain)]
    if not isinstance(plain, Mapping):
        return plain
    block = cast("Mapping[Any, Any]", plain)
    op = block.get("op")
    names = RENAMED_PARAMETERS.get(op, {}) if isinstance(op, str) else {}
    # Both names in one block are left as they are, for the check of parameters to refuse.
    return {
        key if names.get(key, key) in block else names.get(key, key): rename_parameters(value)
        for key, value in block.items()
    }


def digest_of(plain: object) -> str:
    """Returns 16 hexadecimal digits of SHA-256 over the canonical JSON of plain data."""
    return hashlib.sha256(canonical_json(plain).encode()).hexdigest()[:16]


def digest_of_format_1(plain: Mapping[str, Any]) -> str:
    """Returns the digest that version 0.1 gave an architecture, from the plain data that it wrote of it.

    Records and weights of that version name architectures by it.
    """
    return digest_of({key: value for key, value in plain.items() if key != "about"})


def check_format(found: object, what: str, error: type[Exception]) -> None:
    """Refuses data of a format that this version does not read, naming it."""
    if type(found) is not int:
        raise error(f"{what} must start with 'format: {FORMAT}', not format {repr(found)[:60]}.")
    if not 1 <= found <= FORMAT:
        remedy = "Upgrade hybrid-nas to read it." if found > FORMAT else f"Set 'format: {FORMAT}'."
        raise error(f"{what} has format {found}; this version reads up to format {FORMAT}. {remedy}")
