"""Peak memory: values made by hand, a brute-force count of living tensors, and parts against whole networks."""

from __future__ import annotations

import gc
import random
from collections.abc import Iterator
from itertools import accumulate, product
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.attention import SDPBackend
from torch.profiler import ProfilerActivity, profile
from torch.utils._python_dispatch import TorchDispatchMode

import nas
from nas.architecture import Architecture
from nas.costs import memory_use, peak_memory
from nas.costs.memory import WALKS, WalkTable, images
from nas.costs.memory_walk import FusedAttention, form_bytes, form_of, image_form, walk
from nas.errors import ArchitectureError, OptionError
from nas.networks.network import Network
from nas.ops import Shape, normalize
from nas.spaces import catalog

IMAGE = 3 * 8 * 8
MAP = 16 * 8 * 8
FAMILIES = (
    *("efficientnet_b0", "convnext_atto", "deit_tiny", "coatnet_0", "levit_256", "mobilevit_xs", "maxvit_tiny"),
    *(
        "swin_tiny",
        "efficientformerv2_s0",
        "mambavision_t",
        "crossvit_tiny",
        "fcaformer_l0",
        "fastvit_t8",
        "cait_xxs24",
    ),
)


def conv(width: int) -> dict[str, Any]:
    return {"op": "conv", "width": width, "kernel_size": 1, "padding": 0}


def serial(*ops: dict[str, Any]) -> dict[str, Any]:
    return {"op": "serial", "ops": list(ops)}


def network(*mixers: dict[str, Any], stem: dict[str, Any] | None = None) -> Architecture:
    """A stage whose layers are residual branches of the mixers, on maps of 16 x 8 x 8."""
    return normalize(
        Architecture.from_dict(
            {
                "format": 2,
                "input": {"channels": 3, "resolution": 8},
                "stem": stem or conv(16),
                "stages": [{"layers": [{"branches": [{"mixer": mixer}]} for mixer in mixers]}] if mixers else [],
                "head": {"op": "classifier", "num_classes": 5, "hidden": False},
            }
        )
    )


def weights(architecture: Architecture) -> int:
    network = nas.build(architecture)
    return sum(tensor.nbytes for tensor in [*network.parameters(), *network.buffers()])


# -- by hand ----------------------------------------------------------------------------------------------------


def test_a_chain_holds_the_image_and_two_maps() -> None:
    found = memory_use(network(stem=serial(conv(16), conv(16))))
    assert found.activations == 4 * (IMAGE + 2 * MAP)
    assert found.weights == 4 * ((3 * 16 + 16) + (16 * 16 + 16) + (16 * 5 + 5))
    assert (found.place, found.dtype, found.batch) == ("stem", "float32", 1)
    assert found.peak == found.weights + found.activations == peak_memory(network(stem=serial(conv(16), conv(16))))


def test_a_residual_branch_holds_its_input_until_the_sum() -> None:
    # The input, what the branch made, their sum.
    assert memory_use(network(conv(16))).activations == 4 * (IMAGE + 3 * MAP)
    # A second layer also holds the stage's input, which its caller has not let go of; a third holds no more.
    assert memory_use(network(conv(16), conv(16))).activations == 4 * (IMAGE + 4 * MAP)
    assert memory_use(network(conv(16), conv(16), conv(16))).activations == 4 * (IMAGE + 4 * MAP)


def test_a_wide_branch_is_largest_before_the_sum() -> None:
    found = memory_use(network(serial(conv(64), conv(16))))
    assert found.activations == 4 * (IMAGE + MAP + 4 * MAP + MAP)
    assert found.place == "stage 1"


def test_a_concatenation_holds_its_parts_and_the_whole() -> None:
    mixer = serial({"op": "concat", "ops": [conv(24), conv(8)]}, conv(16))
    assert memory_use(network(mixer)).activations == 4 * (IMAGE + MAP + (3 * MAP // 2 + MAP // 2) + 2 * MAP)


class Attention(nn.Module):
    """Attention of 2 heads written out: (B, 64, 16) -> (B, 64, 16)."""

    shape = Shape(16, 64, 1)

    def __init__(self) -> None:
        super().__init__()
        self.qkv = nn.Linear(16, 48)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        q, k, v = self.qkv(x).reshape(len(x), 64, 3, 2, 8).permute(2, 0, 3, 1, 4)
        attention = (q @ k.transpose(2, 3)).softmax(3)
        return (attention @ v).transpose(1, 2).flatten(2)


def test_attention_by_hand() -> None:
    with torch.device("meta"):
        module = Attention()
        x = torch.empty(1, 64, 16)
    found = walk(module, form_of(x), "float32")
    qkv, attention, copy = 3 * 64 * 16, 2 * 64 * 64, 64 * 16
    # Products of parts of one tensor copy them: q, k, the logits; then the logits and their softmax, without copies.
    assert found.peak == 4 * max(qkv + 2 * copy + attention, qkv + 2 * attention, qkv + attention + 3 * copy)
    assert found.weights == 4 * (16 * 48 + 48)
    assert (found.fresh, found.output.shape) == (True, (1, 64, 16))


class Fused(Attention):
    """The same by torch's attention."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        q, k, v = self.qkv(x).reshape(len(x), 64, 3, 2, 8).permute(2, 0, 3, 1, 4)
        return F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)


def test_attention_of_torch_makes_no_table_of_weights() -> None:
    with torch.device("meta"):
        module = Fused()
        x = torch.empty(1, 64, 16)
    found = walk(module, form_of(x), "float32")
    qkv, output, sums = 3 * 64 * 16, 64 * 16, 2 * 64
    assert found.peak == 4 * (qkv + output + sums)
    assert (found.fresh, found.output.shape) == (True, (1, 64, 16))


def heads(positions: int, channels: int, *, channels_last: bool) -> torch.Tensor:
    if channels_last:
        return torch.zeros(2, positions, 3, channels).transpose(1, 2)
    return torch.zeros(2, 3, channels, positions).transpose(2, 3)


@pytest.mark.parametrize("mask", [None, (9, 5), (1, 1, 9, 5), (2, 1, 9, 5), (1, 3, 1, 5), (3, 9, 5), (1, 5)])
@pytest.mark.parametrize(("value", "channels_last"), [(8, True), (16, True), (8, False)])
def test_attention_is_fused_where_torch_fuses_it_on_a_cpu(
    mask: tuple[int, ...] | None, value: int, channels_last: bool
) -> None:
    sizes = ((9, 8), (5, 8), (5, value))
    q, k, v = (heads(*size, channels_last=channels_last) for size in sizes)
    bias = None if mask is None else torch.zeros(mask)
    chosen = torch._fused_sdp_choice(q, k, v, bias) == SDPBackend.FLASH_ATTENTION.value
    assert chosen == (value == 8 and channels_last and mask != (3, 9, 5))
    made: list[str] = []

    class Ops(TorchDispatchMode):
        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            made.append(func._overloadpacket.__name__)
            return func(*args, **(kwargs or {}))

    if mask == (3, 9, 5):
        return  # torch refuses it later
    there = [each.to("meta") for each in (q, k, v)]
    with torch.no_grad(), FusedAttention(), Ops():
        found = F.scaled_dot_product_attention(*there, attn_mask=None if bias is None else bias.to("meta"))
    expected = F.scaled_dot_product_attention(q, k, v, attn_mask=bias)
    assert ("bmm" not in made) == chosen
    assert (found.shape, found.stride()) == (expected.shape, expected.stride())


class InPlace(nn.Module):
    shape = Shape(4, 2, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return (x + 1).relu_().mul_(2).view(len(x), 4, 2, 2)


def test_views_and_ops_in_place_make_no_tensor() -> None:
    found = walk(InPlace(), image_form((1, 4, 2, 2), "float32"), "float32")
    assert (found.peak, found.fresh) == (4 * 16, True)
    alone = walk(_Identity(), image_form((1, 4, 2, 2), "float32"), "float32")
    assert (alone.peak, alone.fresh) == (0, False)


class _Identity(nn.Identity):
    shape = Shape(4, 2, 2)


class _Keeps(nn.Module):
    shape = Shape(4, 2, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.kept = x + 1
        return x * 2


def test_what_a_module_keeps_is_noticed() -> None:
    with pytest.raises(AssertionError, match="_Keeps keeps 64 bytes"):
        walk(_Keeps(), image_form((1, 4, 2, 2), "float32"), "float32")


# -- brute force ------------------------------------------------------------------------------------------------


class Living(TorchDispatchMode):
    """After every op, the bytes of all tensors that the garbage collector knows and that were not there before."""

    def __init__(self) -> None:
        super().__init__()
        self.peak = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        stores = {t.untyped_storage()._cdata: t.untyped_storage().nbytes() for t in _tensors()}
        self.peak = max(self.peak, sum(stores.values()))
        return out


def _tensors() -> Iterator[torch.Tensor]:
    return (each for each in gc.get_objects() if type(each) in (torch.Tensor, nn.Parameter))


def brute_force(architecture: Architecture, batch: int = 1, dtype: torch.dtype = torch.float32) -> int:
    """Weights, image and what inference makes, by counting all living tensors after every op."""
    gc.collect()
    gc.freeze()
    try:
        size = architecture.input.resolution
        with torch.device("meta"):
            network = nas.build(architecture).eval().to(dtype)
            image = torch.zeros(batch, 3, size, size, dtype=dtype).to(memory_format=torch.channels_last)
        with torch.no_grad(), FusedAttention(), Living() as living:
            network(image)
        return living.peak
    finally:
        gc.unfreeze()


def samples() -> list[Architecture]:
    rng = random.Random(3)
    found = [network(conv(16), serial(conv(64), conv(16))), network({"op": "attention", "width": 16, "head_dim": 8})]
    for name in ("coatnet-small", "nats-size"):
        space = nas.load_space(name).adapted(resolution=32)
        found += [space.sample(rng) for _ in range(3)]
    return found


@pytest.mark.parametrize("architecture", samples(), ids=lambda each: each.digest)
def test_it_is_what_living_tensors_add_up_to(architecture: Architecture) -> None:
    assert peak_memory(architecture) == brute_force(architecture)


def test_so_it_is_for_a_batch_and_for_half_precision() -> None:
    architecture = samples()[2]
    assert peak_memory(architecture, batch=3) == brute_force(architecture, 3)
    assert peak_memory(architecture, "bfloat16") == brute_force(architecture, 1, torch.bfloat16)


@pytest.mark.parametrize("architecture", samples()[-4:], ids=lambda each: each.digest)
def test_it_is_what_torch_allocates_on_the_cpu_but_for_what_kernels_take(architecture: Architecture) -> None:
    network, size = nas.build(architecture).eval(), architecture.input.resolution
    image = torch.zeros(1, 3, size, size).to(memory_format=torch.channels_last)
    taken: list[int] = []
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            module.register_forward_hook(
                lambda conv, given, _: taken.extend(
                    (conv.weight.nbytes, given[0].nbytes * conv.kernel_size[0] * conv.kernel_size[1])
                )
            )
    with torch.inference_mode():
        network(image)
        with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiled:
            network(image)
    changes: list[tuple[int, int]] = []
    _collect(profiled.profiler.kineto_results.experimental_event_tree(), changes)
    allocated = max(accumulate(change for _, change in sorted(changes))) + image.nbytes
    found = memory_use(architecture)
    # A convolution may take its weights in another order, or its input in columns: what its kernel sees at each place.
    assert 0.99 * found.activations <= allocated <= 1.01 * found.activations + max(taken)


def _collect(events: Any, changes: list[tuple[int, int]]) -> None:
    for event in events:
        size = getattr(event.extra_fields, "alloc_size", None)
        if size is not None:
            changes.append((event.start_time_ns, size))
        _collect(event.children, changes)


@pytest.mark.parametrize(
    ("name", "dtype"),
    [*((name, "float32") for name in FAMILIES), *product(("levit_256", "mambavision_t"), ("float16", "int8"))],
)
def test_parts_put_together_are_the_whole_network(name: str, dtype: str) -> None:
    architecture = nas.load_architecture(name)
    size = architecture.input.resolution
    image, _ = images(3, size, dtype)
    with torch.device("meta"):
        whole: Any = Network(architecture.to_dict())
    whole.shape = Shape(1000, 1, 1)
    expected = walk(whole, image, dtype)
    found = memory_use(architecture, dtype)
    assert (found.weights, found.activations) == (expected.weights, expected.peak + form_bytes(image, dtype))


@pytest.mark.slow
@pytest.mark.parametrize("name", catalog.zoo_names())
def test_parts_put_together_are_every_network_of_the_zoo(name: str) -> None:
    test_parts_put_together_are_the_whole_network(name, "float32")


# -- dtypes, errors, cache --------------------------------------------------------------------------------------


def test_int8_is_a_byte_for_each_number() -> None:
    architecture = network(conv(16))
    assert peak_memory(architecture) == 4 * peak_memory(architecture, "int8")
    assert peak_memory(architecture) == 2 * peak_memory(architecture, "float16")
    normed = nas.load_architecture("efficientnet_b0")
    # Counters of BatchNorm are whole numbers of 8 bytes in every dtype.
    counters = sum(b.nbytes for b in nas.build(normed).buffers() if not b.is_floating_point())
    found = memory_use(normed, "int8")
    assert counters > 0
    assert memory_use(normed).weights - counters == 4 * (found.weights - counters)
    assert memory_use(normed).weights == weights(normed)


def test_wrong_dtypes_and_networks_are_refused() -> None:
    with pytest.raises(OptionError, match=r"Unknown dtype 'int9': did you mean 'int8'\?"):
        peak_memory(network(conv(16)), "int9")
    with pytest.raises(ArchitectureError, match=r"stage 1 \(its input 16x8x8\): "):
        peak_memory(network(conv(8)))


def test_walks_come_back_from_the_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    monkeypatch.setenv("NAS_CACHE", str(tmp_path))
    from nas.costs import memory

    monkeypatch.setattr(memory, "_walks_file", lambda: tmp_path / "memory.json")
    architecture = nas.load_architecture("crossvit_tiny")  # streams: shapes that hold shapes
    expected = peak_memory(architecture)
    table = WalkTable()
    monkeypatch.setattr(memory, "WALKS", table)
    assert peak_memory(architecture) == expected
    table.save()
    again = WalkTable()
    monkeypatch.setattr(memory, "WALKS", again)
    monkeypatch.setattr(memory, "walk", None)
    assert peak_memory(architecture) == expected
    assert again._blocks == table._blocks
    assert WALKS is not again
