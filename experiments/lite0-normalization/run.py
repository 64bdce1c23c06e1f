"""Which of two input normalizations the weights of a port of EfficientNet-Lite0 are for, asked of photographs."""

from __future__ import annotations

import argparse
import csv
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from safetensors.torch import load_file

import nas

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from provenance import provenance

ROOT = Path(__file__).resolve().parents[2]
OUT = ROOT / "results" / "lite0-normalization"
NORMALIZATIONS = {
    "imagenet": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    "inception": ((0.5,) * 3, (0.5,) * 3),
    "tensorflow": ((127 / 255,) * 3, (128 / 255,) * 3),
}
# ImageNet classes that name what a folder of clothing10 shows, chosen from the classes' names before any image was run.
PLAUSIBLE = {
    "dress": {578: "gown", 601: "hoopskirt", 689: "overskirt"},
    "hat": {433: "bathing cap", 452: "bonnet", 515: "cowboy hat", 793: "shower cap", 808: "sombrero"},
    "longsleeve": {474: "cardigan", 610: "jersey", 841: "sweatshirt"},
    "outwear": {568: "fur coat", 617: "lab coat", 735: "poncho", 869: "trench coat"},
    "pants": {608: "jean"},
    "shoes": {502: "clog", 514: "cowboy boot", 630: "Loafer", 770: "running shoe", 774: "sandal", 788: "shoe shop"},
    "shorts": {842: "swimming trunks", 608: "jean"},
    "skirt": {655: "miniskirt", 601: "hoopskirt", 689: "overskirt"},
    "t-shirt": {610: "jersey"},
}
COMMAND = (
    "OMP_NUM_THREADS=1 python experiments/lite0-normalization/run.py --weights lite0.safetensors --data clothing10"
)


def cropped(path: Path, size: int = 224, share: float = 0.875) -> np.ndarray[Any, Any]:
    """The middle of an image whose shorter side is resized to size / share: (size, size, 3) in 0 to 1."""
    image = Image.open(path).convert("RGB")
    scale = size / share / min(image.size)
    image = image.resize((round(image.width * scale), round(image.height * scale)), Image.Resampling.BICUBIC)
    left, top = (image.width - size) // 2, (image.height - size) // 2
    return np.asarray(image.crop((left, top, left + size, top + size)), dtype=np.float32) / 255


def batches(files: Sequence[Path], size: int = 32) -> Iterator[tuple[Sequence[Path], torch.Tensor]]:
    """The files in groups, and their images (B, 3, 224, 224) in 0 to 1."""
    for start in range(0, len(files), size):
        chunk = files[start : start + size]
        yield chunk, torch.from_numpy(np.stack([cropped(path) for path in chunk])).permute(0, 3, 1, 2)


def normalized(images: torch.Tensor, mean: Sequence[float], std: Sequence[float]) -> torch.Tensor:
    return (images - torch.tensor(mean)[:, None, None]) / torch.tensor(std)[:, None, None]


def first_statistics(network: Any, files: Sequence[Path]) -> dict[str, dict[str, float]]:
    """How far the first convolution's output on these images is from what its norm saw in training.

    Medians over live channels: of the mean's distance in standard deviations, and of the variance's in octaves.
    """
    conv, norm = network.stem[0].conv, network.stem[0].norm
    alive = norm.running_var > 1e-3
    sums = {name: [torch.zeros(int(alive.sum())), torch.zeros(int(alive.sum())), 0] for name in NORMALIZATIONS}
    for _, images in batches(files):
        for name, (mean, std) in NORMALIZATIONS.items():
            with torch.inference_mode():
                out = conv(normalized(images, mean, std))[:, alive].transpose(0, 1).flatten(1)
            for i, value in enumerate((out.sum(1), out.square().sum(1), out.shape[1])):
                sums[name][i] += value
    found = {}
    for name, (total, square, count) in sums.items():
        mean, variance = total / count, square / count - (total / count) ** 2
        offset = (mean - norm.running_mean[alive]).abs() / norm.running_var[alive].sqrt()
        ratio = (variance / norm.running_var[alive]).log2().abs()
        found[name] = {
            "first_norm_channels": int(alive.sum()),
            "first_norm_mean_off_in_deviations": round(float(offset.median()), 4),
            "first_norm_variance_off_in_octaves": round(float(ratio.median()), 4),
        }
    return found


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--weights", type=Path, required=True, help="as `nas weights convert` writes them")
    parser.add_argument("--data", type=Path, required=True, help="a folder with train/CLASS/*.jpg")
    given = parser.parse_args()
    network = nas.build(nas.load_architecture("tf_efficientnet_lite0")).eval()
    network.load_state_dict(load_file(given.weights))
    files = [path for name in PLAUSIBLE for path in sorted((given.data / "train" / name).glob("*.jpg"))]
    rows: list[dict[str, Any]] = []
    for chunk, images in batches(files):
        for name, (mean, std) in NORMALIZATIONS.items():
            with torch.inference_mode():
                logits = network(normalized(images, mean, std))
            logs = logits.log_softmax(1)
            entropy = -(logs.exp() * logs).sum(1)
            for path, top, h in zip(chunk, logits.topk(5).indices.tolist(), entropy.tolist(), strict=True):
                right = PLAUSIBLE[path.parent.name]
                rows.append({
                    "class": path.parent.name, "file": path.name, "normalization": name, "top1": top[0],
                    "top1_plausible": int(top[0] in right), "top5_plausible": int(bool(right.keys() & set(top))),
                    "entropy": round(h, 4),
                })  # fmt: skip
    statistics = first_statistics(network, files[::10])
    OUT.mkdir(parents=True, exist_ok=True)
    summary: dict[str, Any] = {**provenance(COMMAND), "images": len(files), "normalizations": {}}
    for name in NORMALIZATIONS:
        own = [row for row in rows if row["normalization"] == name]
        summary["normalizations"][name] = {
            **{key: round(sum(row[key] for row in own) / len(own), 4) for key in
               ("top1_plausible", "top5_plausible", "entropy")},
            **statistics[name],
        }  # fmt: skip
    by = {name: {row["file"]: row for row in rows if row["normalization"] == name} for name in NORMALIZATIONS}
    for key in ("top1_plausible", "top5_plausible"):
        only = [
            sum(by[a][file][key] > by[b][file][key] for file in by[a])
            for a, b in (("inception", "imagenet"), ("imagenet", "inception"))
        ]
        summary[f"{key}_with_inception_alone_or_imagenet_alone"] = only
    (OUT / "summary.json").write_text(json.dumps(summary, indent=2) + "\n")
    with (OUT / "classes.csv").open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["class", "images", "normalization", "top1_plausible", "top5_plausible", "entropy"])
        for kind in PLAUSIBLE:
            for name in NORMALIZATIONS:
                own = [row for row in rows if row["class"] == kind and row["normalization"] == name]
                figures = [round(sum(row[key] for row in own) / len(own), 4) for key in
                           ("top1_plausible", "top5_plausible", "entropy")]  # fmt: skip
                writer.writerow([kind, len(own), name, *figures])
    print(json.dumps(summary, indent=2))


if __name__ == "__main__":
    main()
