"""Predicted peak memory against what torch's allocator gives out in real inference on the CPU; see README.md."""

from __future__ import annotations

import argparse
import statistics
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile

import nas
from nas.costs import memory_use

# Shared by all experiments, one folder up.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from tables import write_rows

RESULTS = Path(__file__).resolve().parents[2] / "results" / "memory"
NETWORKS = (
    *("efficientnet_b0", "convnext_atto", "fastvit_t8", "deit_tiny", "pit_s", "swin_tiny", "coatnet_0", "levit_256"),
    *("mobilevit_s", "efficientformer_l1", "efficientformerv2_s0", "maxvit_tiny", "mambavision_t", "edgenext_s"),
    *("crossvit_tiny", "caformer_s18"),
)
KERNELS = ("aten::empty", "aten::empty_like", "aten::resize_", "aten::empty_strided", "aten::clone", "[memory]")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--networks", nargs="+", default=NETWORKS)
    parser.add_argument("--batch", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(1)
    rows = [measure(name, args.batch) for name in args.networks]
    write_rows(RESULTS / f"peaks-batch-{args.batch}.csv", rows)
    for key in ("activations_error", "peak_error"):
        errors = [abs(row[key]) for row in rows]
        exact = sum(error == 0 for error in errors)
        print(f"{key}: median {statistics.median(errors):.4%}, worst {max(errors):.2%}, exact {exact} of {len(errors)}")


def measure(name: str, batch: int) -> dict[str, Any]:
    """Returns one network's predicted and measured bytes, and the ops whose kernels hold more at the peak."""
    architecture = nas.load_architecture(name)
    network, side = nas.build(architecture).eval(), architecture.input.resolution
    images = torch.zeros(batch, architecture.input.channels, side, side).to(memory_format=torch.channels_last)
    with torch.inference_mode():
        network(images)
        with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiled:
            network(images)
    peak, held = peak_of(sorted(allocations(profiled.profiler.kineto_results.experimental_event_tree(), ())))
    predicted = memory_use(architecture, batch=batch)
    measured = peak + images.nbytes
    weights = sum(tensor.nbytes for tensor in [*network.parameters(), *network.buffers()])
    row = {
        "network": name,
        "resolution": side,
        "batch": batch,
        "weights": predicted.weights,
        "weights_measured": weights,
        "activations": predicted.activations,
        "activations_measured": measured,
        "activations_error": predicted.activations / measured - 1,
        "peak_error": predicted.peak / (weights + measured) - 1,
        "place": predicted.place,
        "largest_at_peak": " + ".join(f"{op} {size}" for size, op in held[:4]),
    }
    print(
        f"{name}: {predicted.activations:,} predicted, {measured:,} measured, peak {row['peak_error']:+.3%}", flush=True
    )
    return row


def allocations(events: Sequence[Any], ops: tuple[str, ...]) -> Iterator[tuple[int, int, int, str]]:
    """Yields time, bytes (negative when freed), address and op of every change of the allocator's."""
    for event in events:
        size = getattr(event.extra_fields, "alloc_size", None)
        if size is None:
            yield from allocations(event.children, (*ops, event.name))
        else:
            named = [op for op in ops if op not in KERNELS]
            yield event.start_time_ns, size, event.extra_fields.ptr, named[-1].removeprefix("aten::") if named else ""


def peak_of(changes: Sequence[tuple[int, int, int, str]]) -> tuple[int, list[tuple[int, str]]]:
    """Returns the most bytes held at once, and what held them, largest first."""
    live: dict[int, tuple[int, str]] = {}
    total = peak = 0
    held: list[tuple[int, str]] = []
    for _, size, address, op in changes:
        total += size
        if size > 0:
            live[address] = size, op
        else:
            live.pop(address, None)
        if total > peak:
            peak, held = total, sorted(live.values(), reverse=True)
    return peak, held


if __name__ == "__main__":
    main()
