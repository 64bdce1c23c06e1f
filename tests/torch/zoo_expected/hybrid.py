"""LeViT, MaxViT, CoAtNets, Astroformer, BossNet, EfficientFormer, Visformer, MobileViT, SBCFormer, LIT, ConTNet.

And AsCAN and HIRI-ViT, of which no counts but rounded ones are published.

The closed forms give the authors' counts to the digit where those are known: 67,381,864 and 242,604,904 of
Astroformer-2 and -4; 19,521,764 of ConTNet-M; 13,830,592 of SBCFormer-B; 87,292,384 of LIT-B; 9,403,384 of Visformer-Ti
V2.
"""

from itertools import pairwise

CLASSES = 1000


def mbconv(ci: int, co: int) -> int:
    """CoAtNet's inverted residual with squeeze-excite and shortcut (arXiv:2106.04803)."""
    squeeze_excite = 2 * co * co + co // 4 + 4 * co
    return 2 * ci + 4 * ci * co + 52 * co + squeeze_excite + 4 * co * co + co + (ci * co + co if ci != co else 0)


def transformer(ci: int, co: int, r: int, head_dim: int = 32) -> int:
    """Relative attention on a map of r x r and feed-forward, with shortcut."""
    attention = 3 * (ci * co + co) + co * co + co + co // head_dim * (2 * r - 1) ** 2
    return 2 * ci + attention + 2 * co + 8 * co * co + 5 * co + (ci * co + co if ci != co else 0)


def coatnet(widths: tuple[int, ...], depths: tuple[int, ...], layout: str, *, biases: int, head_dim: int = 32) -> int:
    """`biases`: 1 for convolutions of the stem with biases, 0 for those without."""
    total = 27 * widths[0] + 2 * widths[0] + 9 * widths[0] ** 2 + 2 * widths[0] * biases
    for (ci, co), depth, kind, r in zip(pairwise(widths), depths, layout, (56, 28, 14, 7), strict=True):
        for before in (ci, *[co] * (depth - 1)):
            total += mbconv(before, co) if kind == "C" else transformer(before, co, r, head_dim)
    d = widths[-1]
    return total + 2 * d + d * d + d + CLASSES * (d + 1)


WIDTHS = (
    (64, 96, 192, 384, 768),
    (64, 96, 192, 384, 768),
    (128, 128, 256, 512, 1024),
    (192, 192, 384, 768, 1536),
    (192, 192, 384, 768, 1536),
    (192, 256, 512, 1280, 2048),
)
DEPTHS = ((2, 3, 5, 2), (2, 6, 14, 2), (2, 6, 14, 2), (2, 6, 14, 2), (2, 12, 28, 2), (2, 12, 28, 2))


def astroformer(size: int) -> int:
    return coatnet(WIDTHS[size], DEPTHS[size], "CCCT", biases=0)


def contnet(c: int, depths: tuple[int, ...], hidden: tuple[int, ...]) -> int:
    """Per block: BN, two window transformers, a convolution; the last of a stage widens."""
    total = 147 * c
    for i, (depth, m) in enumerate(zip(depths, hidden, strict=True)):
        w, heads = c * 2**i, 2**i
        tables = [heads * (2 * k - 1) ** 2 for k in ((7, 14) if i < 3 else (7, 7))]
        encoders = sum(4 * w * w + 4 * w + 2 * w * m + m + w + 4 * w + table for table in tables)
        total += depth * (2 * w + encoders) + (depth - 1) * 9 * w * w
        total += 2 * w * w + (18 if i < 3 else 2) * w * w
    return total + CLASSES * (16 * c + 1)


def sbcformer(widths: tuple[int, ...], key: int, heads: tuple[int, ...], ratio: int, depths: tuple[int, ...]) -> int:
    """Per stage: inverted residuals, two more at 7x7, transformers there, the way up, the gate and the fusion."""

    def inverted(w: int, e: int) -> int:
        return 2 * e * w * w + 13 * e * w + 2 * w

    w = widths[0]
    total = 27 * w // 4 + 9 * (w // 4) * (w // 2) + 9 * (w // 2) * w + 2 * (w // 4 + w // 2 + w)
    total += sum(9 * a * b + 2 * b for a, b in pairwise(widths))
    for w, h, depth, plain, up in zip(widths, heads, depths, (2, 2, 1), (4, 2, 0), strict=True):
        inner = key * h
        attention = 2 * (w * inner + inner) + 2 * (w * inner + inner) + 22 * inner + 49 * h + 2 * inner * w + w
        total += plain * inverted(w, ratio) + 2 * inverted(w, 2)
        total += depth * (4 * w + attention + 8 * w * w + 5 * w)
        total += (up * up * w + w + 2 * w if up else 0) + 3 * w * w + 4 * w
    return total + 2 * widths[-1] + CLASSES * (widths[-1] + 1)


def lit(widths: tuple[int, ...], depths: tuple[int, ...], ratios: tuple[int, ...], *, tables: bool) -> int:
    """Feed-forward alone in two stages, attention as well in two; deformable merging between them."""
    total = 48 * widths[0] + 3 * widths[0] + 2 * widths[-1] + CLASSES * (widths[-1] + 1)
    for a, b in pairwise(widths):
        total += 4 * a * b + b + 32 * a + 8 + 2 * b
    for i, (w, depth, ratio) in enumerate(zip(widths, depths, ratios, strict=True)):
        r = 56 >> i
        layer = 2 * w + 2 * ratio * w * w + (ratio + 1) * w
        if i >= 2:
            layer += 2 * w + 4 * w * w + 4 * w + (w // 32 * (2 * r - 1) ** 2 if tables else 0)
        # Without tables there are learned positions, and a class token in the last stage.
        total += depth * layer + (0 if tables else w * r * r + (2 * w if i == 3 else 0))
    return total


def visformer_v2(stem: int, base: int, depths: tuple[int, ...]) -> int:
    """Grouped convolutions in two stages, attention in two; positions at the start of each and relative ones."""
    total, before = 147 * stem + 2 * stem, stem
    for i, depth in enumerate(depths):
        w, r = base * 2**i, 56 >> i
        total += 4 * before * w + w + 2 * w + w * r * r
        convolutions = 2 * w + 4 * w * w + 9 * 4 * w * w // 8
        attention = 2 * w + 4 * w * w + w // 32 * (2 * r - 1) ** 2 + 2 * w + 8 * w * w
        total += depth * (convolutions if i < 2 else attention)
        before = w
    return total + 2 * before + CLASSES * (before + 1)


def lookups(widths: tuple[int, ...], depths: tuple[int, ...]) -> float:
    """Giga multiply-adds of timm's MaxViT for looking up its position biases: products with one-hot matrices."""
    heads = sum(2 * depth * width // 32 for width, depth in zip(widths, depths, strict=True))
    return heads * (49 * 13 * 13 + 49 * 49 * 13) / 1e9


def squeeze_excite(w: int) -> int:
    """Two maps between w channels and a sixteenth, with biases."""
    return 2 * w * (w // 16) + w + w // 16


FORM = "closed form"
TIMM = "timm's network"
AUTHORS = "the authors' code"
BOTH = "the authors' code with its second head"
GUESS = "a guess: see its file"
HIDDEN = (256, 512, 1024, 1024)

EXPECTED: dict[str, tuple[int | None, float | None, str]] = {
    "levit_128s": (7_777_058, 0.3047, TIMM),
    "levit_128": (9_213_936, 0.4053, TIMM),
    "levit_192": (10_947_069, 0.657, TIMM),
    "levit_256": (18_893_876, 1.1273, TIMM),
    "levit_384": (39_128_836, 2.3518, TIMM),
    "maxvit_tiny": (30_916_528, 5.5518 - lookups((64, 128, 256, 512), (2, 2, 5, 2)), TIMM),
    "maxvit_small": (68_927_956, 11.5891 - lookups((96, 192, 384, 768), (2, 2, 5, 2)), TIMM),
    "maxvit_base": (119_467_708, 23.9223 - lookups((96, 192, 384, 768), (2, 6, 14, 2)), TIMM),
    "maxvit_large": (211_785_560, 43.5197 - lookups((128, 256, 512, 1024), (2, 6, 14, 2)), TIMM),
    "maxvit_xlarge": (474_951_952, None, TIMM),
    "coatnet_5": (coatnet(WIDTHS[5], DEPTHS[5], "CCTT", biases=1, head_dim=64), None, FORM),
    "coatnet_0_dw": (25_036_820, 4.5465, TIMM),
    "coatnet_1_dw": (42_225_776, 8.6435, TIMM),
    "coatnet_2_dw": (74_684_744, 16.4271, TIMM),
    "coatnet_3_dw": (166_966_264, 36.4532, TIMM),
    "coatnet_4_dw": (275_425_288, 62.3168, TIMM),
    "coatnet_5_dw": (687_472_008, 145.2643, TIMM),
    "astroformer_0": (23_533_592, 3.9949, AUTHORS),
    "astroformer_1": (astroformer(1), None, FORM),
    "astroformer_2": (astroformer(2), 13.3396, AUTHORS),
    "astroformer_3": (astroformer(3), None, FORM),
    "astroformer_4": (astroformer(4), 48.5374, AUTHORS),
    "bossnet_t0_nose": (37_319_080, 3.4419, AUTHORS),
    "bossnet_t0": (37_319_080 + sum(map(squeeze_excite, (256, 512, *[1024] * 4, 2048))), 3.443, AUTHORS),
    "bossnet_t1": (38_415_960, 7.9444, AUTHORS),
    "efficientformer_l1": (12_289_928, 1.2913, TIMM),
    "efficientformer_l3": (30_893_000 + 513_000, 3.9066, BOTH),
    "efficientformer_l7": (82_229_328, 10.1193, TIMM),
    "efficientformerv2_s0": (3_600_256, 0.3959, TIMM),
    "efficientformerv2_s1": (5_960_560 + 225_000, 0.6519, BOTH),
    "efficientformerv2_s2": (12_710_112, 1.2469, TIMM),
    "efficientformerv2_l": (25_937_288 + 385_000, 2.5526, BOTH),
    "visformer_tiny": (10_321_368, 1.268, TIMM),
    "visformer_small": (40_219_592, 4.8794, TIMM),
    "swin_visformer_small": (40_530_200, 4.8986, AUTHORS),
    "visformer_tiny_v2": (visformer_v2(24, 48, (1, 4, 6, 3)), 1.2839, AUTHORS),
    "visformer_small_v2": (visformer_v2(32, 64, (1, 10, 14, 3)), None, FORM),
    "visformer_medium_v2": (None, None, GUESS),
    "mobilevit_xxs": (1_272_024, 0.4074, TIMM),
    "mobilevit_xs": (2_317_848, 1.0259, TIMM),
    "mobilevit_s": (5_578_632, None, TIMM),
    "sbcformer_xs": (5_594_161, 0.4722, AUTHORS),
    "sbcformer_s": (sbcformer((96, 192, 320), 16, (3, 5, 7), 2, (2, 4, 3)), None, FORM),
    "sbcformer_b": (sbcformer((128, 256, 384), 24, (4, 6, 8), 2, (2, 4, 3)), 1.0738, AUTHORS),
    "sbcformer_l": (sbcformer((192, 288, 384), 32, (4, 6, 8), 4, (2, 4, 3)), None, FORM),
    "lit_ti": (lit((64, 128, 320, 512), (3, 4, 6, 3), (8, 8, 4, 4), tables=False), None, FORM),
    "lit_s": (27_973_720, 4.0766, AUTHORS),
    "lit_m": (lit((96, 192, 384, 768), (2, 2, 18, 2), (4,) * 4, tables=True), None, FORM),
    "lit_b": (lit((128, 256, 512, 1024), (2, 2, 18, 2), (4,) * 4, tables=True), 15.0275, AUTHORS),
    "contnet_ti": (5_885_550, 1.0, AUTHORS),
    "contnet_s": (contnet(64, (1, 1, 1, 1), HIDDEN), None, FORM),
    "contnet_m": (contnet(64, (2, 2, 2, 2), HIDDEN), 3.4403, AUTHORS),
    "contnet_b": (contnet(64, (3, 4, 6, 3), HIDDEN), None, FORM),
    "ascan_t": (None, None, GUESS),
    "ascan_b": (None, None, GUESS),
    "ascan_l": (None, None, GUESS),
    "hiri_vit_s": (None, None, GUESS),
    "hiri_vit_l": (None, None, GUESS),
}  # fmt: skip
