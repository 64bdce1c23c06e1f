"""A safetensors file that carries a digest of itself, so that a changed byte is noticed whenever it is read.

The digest is the SHA-256 of the whole file in which the digest itself is 64 zeros. It is in the file's metadata, so
other programs read the file as any other.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import nn

from nas.run.opening import open_regular

KEY = "sha256"
_BLANK = "0" * 64
_DTYPES = {torch.float32: "F32", torch.float16: "F16", torch.bfloat16: "BF16", torch.int64: "I64"}
_PIECE = 2**20
_LONGEST_HEADER = 2**27
# What else stands in files that earlier versions wrote without a digest: checkpoints, then exported weights.
_EARLIER = {"facts", "steps"} | {"format", "hybrid_nas", "architecture", "trained_resolution"}
_EARLIER |= {"mean", "std", "class_names", "levels", "card"}


def write_sealed(path: Path, tensors: Mapping[str, torch.Tensor], metadata: dict[str, str]) -> None:
    """Writes tensors one by one: safetensors' own writer takes a second copy of all of them in memory."""
    entries: dict[str, Any] = {"__metadata__": {**metadata, KEY: _BLANK}}
    # Wide types first, so that each tensor lies where its type may lie.
    tensors = dict(sorted(tensors.items(), key=lambda item: -item[1].element_size()))
    end = 0
    for name, tensor in tensors.items():
        begin, end = end, end + tensor.numel() * tensor.element_size()
        entries[name] = {"dtype": _DTYPES[tensor.dtype], "shape": list(tensor.shape), "data_offsets": [begin, end]}
    header = json.dumps(entries, separators=(",", ":")).encode()
    header += b" " * (-len(header) % 8)
    head = len(header).to_bytes(8, "little") + header
    digest = hashlib.sha256(head)
    with path.open("wb") as file:
        file.write(head)
        for tensor in tensors.values():
            data = tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().data
            digest.update(data)
            file.write(data)
        file.seek(head.index(_sealed(_BLANK)))
        file.write(_sealed(digest.hexdigest()))


def metadata_of(path: Path) -> dict[str, str]:
    """Returns the metadata of a .safetensors file; empty if they cannot be read."""
    with suppress(SafetensorError, OSError), safe_open(path, "pt") as file:
        return file.metadata() or {}
    return {}


def check_seal(path: Path) -> None:
    """Checks a file against its own digest; those that earlier versions wrote have none.

    Raises:
        SafetensorError: If they differ, or the file is cut short.
        RunError, OSError: If it cannot be opened; see `open_regular`.
    """
    with os.fdopen(open_regular(path, os.O_RDONLY), "rb") as file:
        size = int.from_bytes(file.read(8), "little")
        if size > _LONGEST_HEADER:
            raise SafetensorError("its header is damaged")
        header = file.read(size)
        try:
            metadata: dict[str, str] = json.loads(header)["__metadata__"]
            given = metadata.get(KEY)
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            raise SafetensorError("its header is damaged") from None
        if given is None and not set(metadata) - _EARLIER:
            return
        blank = header.replace(_sealed(str(given)), _sealed(_BLANK), 1)
        digest = hashlib.sha256(size.to_bytes(8, "little") + blank)
        while piece := file.read(_PIECE):
            digest.update(piece)
    if digest.hexdigest() != given:
        raise SafetensorError("its content has changed since it was written")


def weights_digest(network: nn.Module) -> str:
    """Returns the SHA-256 of a network's parameters: names, types, shapes and values.

    Buffers are left out, as BatchNorm statistics are estimated again whenever a training is loaded.
    """
    digest = hashlib.sha256()
    for name, parameter in network.named_parameters():
        value = parameter.detach().cpu().contiguous()
        digest.update(f"{name} {value.dtype} {list(value.shape)}\n".encode())
        digest.update(value.view(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _sealed(digest: str) -> bytes:
    return f'"{KEY}":"{digest}"'.encode()
