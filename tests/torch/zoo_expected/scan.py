"""Next-ViT, FasterViT, MambaVision.

The closed forms give the authors' counts to the digit where those are known: 31,404,840, 75,923,816 and 271,944,224 of
FasterViT-0, -2 and -4-21K; 31,794,248, 50,140,584 and 227,961,048 of MambaVision-T, -S and -L.
"""

from math import ceil

Depths = tuple[int, int, int, int]


def convolutions(inner: int, dim: int, depths: Depths) -> int:
    """The stem and the first two stages, both families' own."""
    stem = 27 * inner + 2 * inner + 9 * inner * dim + 2 * dim
    return stem + sum(depth * 2 * (9 * w * w + 3 * w) for depth, w in zip(depths, (dim, 2 * dim), strict=False))


def transformer(w: int, scaled: bool) -> int:
    """Norms, attention with biases, feed-forward of ratio 4, layer scales."""
    return 4 * w + 4 * w * w + 4 * w + 8 * w * w + 5 * w + 2 * w * scaled


def fastervit(
    inner: int, dim: int, depths: Depths, heads: tuple[int, int], *, scaled: bool = False, carriers: bool = True
) -> int:
    """Stage 3 has everything twice, for carriers and for windows, but at FasterViT-4-21K."""

    def layer(w: int, h: int) -> int:
        return 3 * 512 + 512 * w + 3 * 512 + 512 * h + transformer(w, scaled)

    third, fourth = 4 * dim, 8 * dim
    down = sum(2 * w + 18 * w * w for w in (dim, 2 * dim, 4 * dim))
    layers = depths[2] * (1 + carriers) * layer(third, heads[0]) + depths[3] * layer(fourth, heads[1])
    return convolutions(inner, dim, depths) + down + layers + carriers * 10 * third + 1002 * fourth + 1000


def mambavision(inner: int, dim: int, depths: Depths, *, scaled: bool = False) -> int:
    """Of an odd number of layers, mamba has one more than attention."""

    def mixer(w: int) -> int:
        half, rank, state = w // 2, ceil(w / 16), 8
        step = half * rank + rank * half + half
        return 2 * w * w + 2 * 3 * half + step + 2 * half * state + half * state + half

    total = convolutions(inner, dim, depths) + sum(18 * w * w for w in (dim, 2 * dim, 4 * dim)) + 1002 * 8 * dim + 1000
    for depth, w in zip(depths[2:], (4 * dim, 8 * dim), strict=True):
        total += depth * transformer(w, scaled) + ceil(depth / 2) * (mixer(w) - 4 * w * w - 4 * w)
    return total


TIMM = "timm's network, counted"
AUTHORS = "closed form; the authors' code, training graph"
FORM = "closed form that gives the authors' counts of its siblings"

EXPECTED: dict[str, tuple[int | None, float | None, str]] = {
    "nextvit_small": (31_763_368, 5.7944, TIMM),
    "nextvit_base": (44_818_856, 8.2738, TIMM),
    "nextvit_large": (57_874_344, 10.7532, TIMM),
    "fastervit_0": (fastervit(64, 64, (2, 3, 6, 5), (8, 16)), 3.4923, AUTHORS),
    "fastervit_1": (fastervit(32, 80, (1, 3, 8, 5), (8, 16)), None, FORM),
    "fastervit_2": (fastervit(64, 96, (3, 3, 8, 5), (8, 16)), 8.9748, AUTHORS),
    "fastervit_3": (fastervit(64, 128, (3, 3, 12, 5), (8, 16), scaled=True), None, FORM),
    "fastervit_4": (fastervit(64, 196, (3, 3, 12, 5), (16, 32), scaled=True), 43.23, AUTHORS),
    "fastervit_4_21k_224": (fastervit(64, 196, (3, 3, 12, 5), (16, 32), scaled=True, carriers=False), 41.5904, AUTHORS),
    "fastervit_5": (fastervit(64, 320, (3, 3, 12, 5), (16, 32), scaled=True), None, FORM),
    "fastervit_6": (fastervit(64, 320, (3, 3, 16, 8), (16, 32), scaled=True), None, FORM),
    "mambavision_t": (mambavision(32, 80, (1, 3, 8, 4)), 4.5645, AUTHORS),
    "mambavision_t2": (mambavision(32, 80, (1, 3, 11, 4)), None, FORM),
    "mambavision_s": (mambavision(64, 96, (3, 3, 7, 5)), 7.5776, AUTHORS),
    "mambavision_b": (mambavision(64, 128, (3, 3, 10, 5), scaled=True), None, FORM),
    "mambavision_l": (mambavision(64, 196, (3, 3, 10, 5), scaled=True), 35.1597, AUTHORS),
    "mambavision_l2": (mambavision(64, 196, (3, 3, 12, 5), scaled=True), None, FORM),
}
