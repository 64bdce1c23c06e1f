"""`coatnet_0` of this package against CoAtNet-0 written plainly in torch: images per CPU-second; see README.md."""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn
from torch.profiler import ProfilerActivity, profile

import nas

# Shared by all experiments, one folder up.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from provenance import provenance

COMMAND = "OMP_NUM_THREADS=1 python experiments/coatnet-speed/measure.py"
ROOT = Path(__file__).resolve().parents[2]
RESULTS = ROOT / "results" / "coatnet-speed"
WIDTHS, DEPTHS, STEM = (96, 192, 384, 768), (2, 3, 5, 2), 64


class MBConv(nn.Module):
    """Pre-activated inverted residual with squeeze-excite."""

    def __init__(self, width_in: int, width: int, stride: int) -> None:
        super().__init__()
        hidden, squeezed = 4 * width, width // 4
        self.norm0 = nn.BatchNorm2d(width_in, eps=1e-3, momentum=0.01)
        self.expand = nn.Conv2d(width_in, hidden, 1, stride, bias=False)
        self.norm1 = nn.BatchNorm2d(hidden, eps=1e-3, momentum=0.01)
        self.depthwise = nn.Conv2d(hidden, hidden, 3, 1, 1, groups=hidden, bias=False)
        self.norm2 = nn.BatchNorm2d(hidden, eps=1e-3, momentum=0.01)
        self.squeeze = nn.Conv2d(hidden, squeezed, 1)
        self.excite = nn.Conv2d(squeezed, hidden, 1)
        self.project = nn.Conv2d(hidden, width, 1)
        self.stride = stride
        self.shortcut = nn.Conv2d(width_in, width, 1) if stride > 1 else nn.Identity()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        shortcut = self.shortcut(F.avg_pool2d(x, 2) if self.stride > 1 else x)
        x = F.gelu(self.norm1(self.expand(self.norm0(x))))
        x = F.gelu(self.norm2(self.depthwise(x)))
        gate = self.excite(F.silu(self.squeeze(F.adaptive_avg_pool2d(x, 1))))
        return shortcut + self.project(x * torch.sigmoid(gate))


class Transformer(nn.Module):
    """Pre-norm attention with a relative bias gathered by index, then a feed-forward; on (B, H * W, C) tokens."""

    def __init__(self, width_in: int, width: int, size: int, sdpa: bool) -> None:
        super().__init__()
        self.heads, self.size, self.sdpa, self.first = width // 32, size, sdpa, width_in != width
        self.norm1 = nn.LayerNorm(width_in)
        self.qkv = nn.Linear(width_in, 3 * width)
        self.table = nn.Parameter(torch.empty(self.heads, (2 * size - 1) ** 2))
        nn.init.trunc_normal_(self.table, std=0.02)
        at = torch.cartesian_prod(torch.arange(size), torch.arange(size))
        offset = at[:, None] - at[None] + size - 1
        self.register_buffer("index", offset[..., 0] * (2 * size - 1) + offset[..., 1], persistent=False)
        self.project = nn.Linear(width, width)
        self.shortcut = nn.Linear(width_in, width) if self.first else nn.Identity()
        self.norm2 = nn.LayerNorm(width)
        self.expand = nn.Linear(width, 4 * width)
        self.contract = nn.Linear(4 * width, width)

    def pool(self, x: torch.Tensor) -> torch.Tensor:
        """Halves the grid that the tokens lie on."""
        grid = x.transpose(1, 2).unflatten(2, (2 * self.size, 2 * self.size))
        return F.avg_pool2d(grid, 2).flatten(2).transpose(1, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.norm1(x)
        if self.first:
            x, y = self.pool(x), self.pool(y)
        q, k, v = self.qkv(y).unflatten(2, (3, self.heads, 32)).permute(2, 0, 3, 1, 4)
        bias = self.table[:, self.index]
        if self.sdpa:
            y = F.scaled_dot_product_attention(q, k, v, attn_mask=bias[None])
        else:
            y = ((q * 32**-0.5) @ k.transpose(2, 3) + bias).softmax(3) @ v
        x = self.shortcut(x) + self.project(y.transpose(1, 2).flatten(2))
        return x + self.contract(F.gelu(self.expand(self.norm2(x))))


class Plain(nn.Module):
    """CoAtNet-0 at a resolution, (B, 3, R, R) -> (B, 1000)."""

    def __init__(self, resolution: int, sdpa: bool) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, STEM, 3, 2, 1)
        self.norm = nn.BatchNorm2d(STEM, eps=1e-3, momentum=0.01)
        self.second = nn.Conv2d(STEM, STEM, 3, 1, 1)
        layers, width_in = [], STEM
        for s, (width, depth) in enumerate(zip(WIDTHS, DEPTHS, strict=True)):
            for i in range(depth):
                size = resolution // 2 ** (s + 2)
                if s < 2:
                    layers.append(MBConv(width_in, width, 1 if i else 2))
                else:
                    layers.append(Transformer(width_in, width, size, sdpa))
                width_in = width
        self.convolutions = nn.Sequential(*layers[: sum(DEPTHS[:2])])
        self.transformers = nn.Sequential(*layers[sum(DEPTHS[:2]) :])
        self.last_norm = nn.LayerNorm(width_in)
        self.hidden = nn.Linear(width_in, width_in)
        self.linear = nn.Linear(width_in, 1000)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.convolutions(self.second(F.gelu(self.norm(self.first(x)))))
        x = self.transformers(x.flatten(2).transpose(1, 2))
        return self.linear(torch.tanh(self.hidden(self.last_norm(x.mean(1)))))


def copy_weights(ours: nn.Module, plain: Plain) -> None:
    """Gives the plain network our weights: both list the same modules in the same order but for fused q, k, v."""

    def take(target: nn.Module, *sources: nn.Module) -> None:
        state = [source.state_dict() for source in sources]
        joined = {k: torch.cat([s[k] for s in state]) if len(state) > 1 else state[0][k] for k in state[0]}
        target.load_state_dict({k: joined[k].reshape(v.shape) for k, v in target.state_dict().items()})

    take(plain.first, ours.stem.first)
    take(plain.norm, ours.stem.norm)
    take(plain.second, ours.stem.second)
    layers = [layer for stage in ours.stages for layer in stage.layers]
    for target, (first, *rest) in zip([*plain.convolutions, *plain.transformers], layers, strict=True):
        mixer = first.mixer
        if not isinstance(target.shortcut, nn.Identity):
            take(target.shortcut, first.shortcut.project)
        if isinstance(target, MBConv):
            take(target.norm0, first.norm)
            take(target.squeeze, mixer.squeeze_excite.squeeze)
            take(target.excite, mixer.squeeze_excite.excite)
            for name in ("expand", "norm1", "depthwise", "norm2", "project"):
                take(getattr(target, name), getattr(mixer, name))
            continue
        take(target.norm1, first.norm)
        take(target.qkv, mixer.q, mixer.k, mixer.v)
        take(target.project, mixer.project)
        target.table.data.copy_(mixer.table.detach().flatten(1))
        take(target.norm2, rest[0].norm)
        take(target.expand, rest[0].mixer.expand)
        take(target.contract, rest[0].mixer.project)
    take(plain.last_norm, ours.head.norm)
    take(plain.hidden, ours.head.hidden)
    take(plain.linear, ours.head.linear)


def forward(network: nn.Module, x: torch.Tensor) -> Callable[[], None]:
    """One inference over a batch."""

    def run() -> None:
        network.eval()
        with torch.inference_mode():
            network(x)

    return run


def training(network: nn.Module, x: torch.Tensor) -> Callable[[], None]:
    """One training step: forward, backward, clipping, fused AdamW."""
    labels = torch.arange(len(x)) % 1000
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-5, weight_decay=0.05, fused=True)

    def run() -> None:
        network.train()
        network.zero_grad(set_to_none=True)
        F.cross_entropy(network(x), labels).backward()
        nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()

    return run


def compare(cases: dict[str, Callable[[], None]], batch: int, repeats: int) -> dict[str, dict[str, float]]:
    """CPU seconds of each case, run in turn; images per CPU-second and, per turn, ours over the other."""
    seconds: dict[str, list[float]] = {name: [] for name in cases}
    for turn in range(repeats + 1):
        for name, run in cases.items():
            began = time.process_time()
            run()
            if turn:  # the first turn warms up
                seconds[name].append(time.process_time() - began)
    ours = seconds["ours"]
    return {
        name: {
            "images_per_s": round(batch / statistics.median(values), 3),
            "time_over_ours": round(statistics.median(v / o for v, o in zip(values, ours, strict=True)), 4),
            "low": round(min(v / o for v, o in zip(values, ours, strict=True)), 3),
            "high": round(max(v / o for v, o in zip(values, ours, strict=True)), 3),
            "n": repeats,
        }
        for name, values in seconds.items()
    }


def top_operators(run: Callable[[], None], count: int = 12) -> list[dict[str, float | str]]:
    """Where one call's time goes, by operator."""
    run()
    with profile(activities=[ProfilerActivity.CPU]) as recorded:
        run()
    rows = sorted(recorded.key_averages(), key=lambda row: -row.self_cpu_time_total)
    total = sum(row.self_cpu_time_total for row in rows)
    return [
        {"operator": r.key, "share": round(r.self_cpu_time_total / total, 4), "calls": r.count} for r in rows[:count]
    ]


def main() -> None:
    """Checks that the networks agree, measures them in turn and writes `results/coatnet-speed/speed.json`."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--resolution", type=int, default=224)
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--out", type=Path, default=RESULTS / "speed.json")
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    ours = nas.build(nas.load_architecture("coatnet_0").at_resolution(options.resolution))
    networks: dict[str, nn.Module] = {"ours": ours}
    for name, sdpa, layout in (
        ("plain, matmul, channels_last", False, torch.channels_last),
        ("plain, SDPA, channels_last", True, torch.channels_last),
        ("plain, matmul, NCHW", False, torch.contiguous_format),
    ):
        plain = Plain(options.resolution, sdpa)
        copy_weights(ours, plain)
        networks[name] = plain.to(memory_format=layout)
    x = torch.randn(options.batch, 3, options.resolution, options.resolution)
    inputs = {n: x if "NCHW" in n else x.to(memory_format=torch.channels_last) for n in networks}

    facts: dict[str, object] = {"batch": options.batch, "resolution": options.resolution}
    expected = {}
    for name, network in networks.items():
        assert sum(p.numel() for p in network.parameters()) == sum(p.numel() for p in ours.parameters())
        with torch.inference_mode():
            expected[name] = network.eval()(inputs[name])
        assert torch.allclose(expected[name], expected["ours"], atol=1e-4), name
    facts["largest_difference"] = max(float((y - expected["ours"]).abs().max()) for y in expected.values())
    facts["parameters"] = sum(p.numel() for p in ours.parameters())
    for kind, make in (("forward", forward), ("training step", training)):
        cases = {name: make(network, inputs[name]) for name, network in networks.items()}
        facts[kind] = compare(cases, options.batch, options.repeats)
        print(kind, json.dumps(facts[kind], indent=1), flush=True)
        for name in ("ours", "plain, matmul, channels_last"):
            facts[f"{kind}: operators of {name}"] = top_operators(cases[name])
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(facts | provenance(COMMAND), indent=1) + "\n")


if __name__ == "__main__":
    main()
