"""Live tensors of one module's forward pass, found by running it on the meta device.

Every storage that an op of aten gives is counted from that op on until Python lets go of it, which is when eager
torch frees it: views share their storage, in-place ops make none, and what a frame still holds (the input of a
shortcut, of a module that is being called) is live. What a kernel takes for itself while it runs is not a tensor.

Attention is that of the CPU, whose kernel makes no table of weights; the meta device has none, and would make two.
"""

from __future__ import annotations

import weakref
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from nas.costs.aten_ops import AtenOp
from nas.costs.meta_outputs import MetaOutputs
from nas.ops import Shape
from nas.setting import DTYPE_BYTES

_WALKED = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16, "int8": torch.float32}


class Form(NamedTuple):
    """How a tensor lies in memory: what decides which ops copy it.

    Attributes:
        numbers: Size of its storage, in numbers.
    """

    shape: tuple[int, ...]
    strides: tuple[int, ...]
    offset: int
    numbers: int
    dtype: torch.dtype


class Walk(NamedTuple):
    """Memory of one call of a module, in bytes.

    Attributes:
        weights: Parameters and buffers, each storage once.
        peak: Most that is live at once of what the call makes, beside its input and the weights.
        fresh: Whether the output is not on the storage of the input.
        output: How the output lies.
        shape: The output's, without its batch axis.
    """

    weights: int
    peak: int
    fresh: bool
    output: Form
    shape: Shape


class LiveTensors(MetaOutputs, TorchDispatchMode):
    """Follows the storages that ops make inside it.

    Args:
        dtype: One of `DTYPE_BYTES`.
        known: Tensors that were there before.

    Attributes:
        live: Bytes of what was made inside and is still held.
        peak: Most that this ever was.
    """

    def __init__(self, dtype: str, known: list[torch.Tensor]) -> None:
        super().__init__()
        self.dtype = dtype
        self.live = self.peak = 0
        self._known: dict[int, Any] = {_key(tensor): None for tensor in known}

    def note(self, op: AtenOp, args: Any, kwargs: Any, out: Any) -> None:
        for tensor in tree_leaves(out):
            if isinstance(tensor, torch.Tensor) and _key(tensor) not in self._known:
                self._follow(tensor)
        self.peak = max(self.peak, self.live)

    def _follow(self, tensor: torch.Tensor) -> None:
        key, size = _key(tensor), storage_bytes(tensor, self.dtype)
        self.live += size
        self._known[key] = weakref.ref(tensor.untyped_storage(), lambda _: self._forget(key, size))

    def _forget(self, key: int, size: int) -> None:
        del self._known[key]
        self.live -= size


class FusedAttention(TorchFunctionMode):
    """Makes the tensors of torch's attention on a CPU, where its kernel takes what it is given."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func is not F.scaled_dot_product_attention or not _fuses(*args, **kwargs):
            return func(*args, **kwargs)
        q = args[0]
        batch, heads, positions, channels = q.shape
        # Beside the output, with channels innermost, the logarithm of each row's sum of exponentials.
        out = torch.empty(batch, positions, heads, channels, dtype=q.dtype, device=q.device).transpose(1, 2)
        wide = q.dtype if q.dtype == torch.float64 else torch.float32
        sums = torch.empty(batch, positions, heads, dtype=wide, device=q.device)
        del sums
        return out


def _fuses(
    q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, attn_mask: torch.Tensor | None = None, **others: Any
) -> bool:
    """Whether the CPU's kernel takes this: torch's own rule (`use_flash_attention_cpp`), but for empty tensors."""
    if set(others) - {"scale"} or not all(each.ndim == 4 and each.stride(3) == 1 for each in (q, k, v)):
        return False
    if not q.shape[3] == k.shape[3] == v.shape[3] or not q.shape[:2] == k.shape[:2] == v.shape[:2]:
        return False
    if attn_mask is None:
        return True
    full = (*q.shape[:3], k.shape[2])
    return attn_mask.ndim in (2, 4) and all(
        size in (1, whole) for size, whole in zip(attn_mask.shape, full[-attn_mask.ndim :], strict=True)
    )


def walk(module: Any, entering: Form, dtype: str) -> Walk:
    """Returns the memory of one call in inference.

    Args:
        module: An op, or a part of a network, built under `torch.device("meta")`.
        dtype: One of `DTYPE_BYTES`. For int8, a network of float32 whose floating-point numbers are one byte each.
    """
    module = module.eval().to(_WALKED[dtype])
    x = torch.empty(entering.numbers, dtype=entering.dtype, device="meta")
    x = x.as_strided(entering.shape, entering.strides, entering.offset)
    weights = [*module.parameters(), *module.buffers()]
    with torch.no_grad(), FusedAttention(), LiveTensors(dtype, [x, *weights]) as tensors:
        out = module(x)
    stored = {_key(tensor): storage_bytes(tensor, dtype) for tensor in weights}
    fresh = _key(out) != _key(x)
    held = storage_bytes(out, dtype) if fresh else 0
    assert tensors.live == held, f"{type(module).__name__} keeps {tensors.live - held} bytes after its call"
    return Walk(sum(stored.values()), tensors.peak, fresh, form_of(out), module.shape)


def form_of(tensor: torch.Tensor) -> Form:
    """Returns how a tensor lies in memory."""
    numbers = tensor.untyped_storage().nbytes() // tensor.element_size()
    return Form(tuple(tensor.shape), tensor.stride(), int(tensor.storage_offset()), numbers, tensor.dtype)


def image_form(shape: tuple[int, ...], dtype: str) -> Form:
    """Returns the form of a batch of images (B, channels, height, width), channels last, as networks are called."""
    return form_of(torch.empty(shape, dtype=_WALKED[dtype], device="meta", memory_format=torch.channels_last))


def form_bytes(form: Form, dtype: str) -> int:
    """Returns the size of a tensor's storage."""
    return form.numbers * (DTYPE_BYTES[dtype] if form.dtype == _WALKED[dtype] else form.dtype.itemsize)


def storage_bytes(tensor: torch.Tensor, dtype: str) -> int:
    """Returns the size of a tensor's storage; in int8, of one byte per floating-point number."""
    size = tensor.untyped_storage().nbytes()
    return size // tensor.element_size() if dtype == "int8" and tensor.is_floating_point() else size


def _key(tensor: torch.Tensor) -> int:
    return tensor.untyped_storage()._cdata
