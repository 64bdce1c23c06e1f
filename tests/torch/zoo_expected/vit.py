"""ViT, DeiT, ViT_C, PiT, CvT, CaiT, ConViT, Swin, T2T-ViT, CrossViT, and the networks for teaching.

Where timm has a network the figures are its own; the others follow from the papers' tables by the closed forms here.
"""

from __future__ import annotations

TIMM = "timm 1.0.31, counted by torch's FlopCounterMode on its unfused graph"
FORM = "closed form of the paper's table"
CLASSES = 1000
Counted = tuple[int, int]


def added(*parts: Counted) -> Counted:
    """Parameters and multiply-adds of parts that follow one another."""
    return sum(params for params, _ in parts), sum(macs for _, macs in parts)


def linear(a: int, b: int, n: int, *, bias: bool = True) -> Counted:
    """A linear map from a to b channels at n places."""
    return a * b + b * bias, a * b * n


def norm(d: int) -> Counted:
    return 2 * d, 0


def mixing(n: int, m: int, d: int) -> Counted:
    """Attention's two products: n places ask m, over d channels."""
    return 0, 2 * n * m * d


def layer(d: int, n: int, ratio: int = 4, *, qkv_bias: bool = True) -> Counted:
    """A pre-norm encoder layer of width d at n places."""
    qkv = [linear(d, d, n, bias=qkv_bias)] * 3
    attention = added(norm(d), *qkv, mixing(n, n, d), linear(d, d, n))
    return added(attention, norm(d), linear(d, ratio * d, n), linear(ratio * d, d, n))


def encoder(d: int, depth: int, n: int, ratio: int = 4, *, qkv_bias: bool = True) -> Counted:
    """Class token and position of n places, the token's included, layers, norm and classifier."""
    layers = [layer(d, n, ratio, qkv_bias=qkv_bias)] * depth
    return added((d + n * d, 0), *layers, norm(d), linear(d, CLASSES, 1))


def vit(d: int, depth: int, ratio: int = 4, patch: int = 16, resolution: int = 224) -> Counted:
    places = (resolution // patch) ** 2
    return added(linear(3 * patch * patch, d, places), encoder(d, depth, places + 1, ratio))


def conv_vit(widths: tuple[int, ...], strides: tuple[int, ...], d: int, depth: int, ratio: int) -> Counted:
    """Behind 3x3 convolutions with norms and a last 1x1 one (ViT_C)."""
    before, side, parts = 3, 224, []
    for width, stride in zip(widths, strides, strict=True):
        side //= stride
        parts += [linear(9 * before, width, side * side, bias=False), norm(width)]
        before = width
    return added(*parts, linear(before, d, side * side), encoder(d, depth, side * side + 1, ratio))


def cvt(widths: tuple[int, ...], depths: tuple[int, ...], resolution: int) -> Counted:
    before, side, kernel, parts = 3, resolution, 49, []
    for i, (d, depth) in enumerate(zip(widths, depths, strict=True)):
        side //= 2 if i else 4
        n, m, token = side * side, (side // 2) ** 2, int(i == 2)
        maps = [added(linear(9, d, places, bias=False), norm(d)) for places in (n, m, m)]
        one = added(layer(d, n + token), *maps)
        # Keys and values are of the smaller map.
        fewer = 2 * d * d * (n - m) + 2 * d * (n + token) * (n - m)
        parts += [linear(kernel * before, d, n), norm(d), (token * d, 0), *[(one[0], one[1] - fewer)] * depth]
        before, kernel = d, 9
    return added(*parts, norm(before), linear(before, CLASSES, 1))


def t2t(d: int, depth: int, ratio: int, *, performer: bool, width: int = 64) -> Counted:
    features, parts = width // 2, []
    for a, n in ((147, 56 * 56), (9 * width, 28 * 28)):
        mixer = [linear(a, width, n, bias=performer)] * 3 + [linear(width, width, n)]
        if performer:
            mixer += [(features * width, 2 * features * width * n), (0, n * features * (1 + 2 * width))]
        else:
            mixer.append(mixing(n, n, width))
        parts += [norm(a), *mixer, norm(width), linear(width, width, n), linear(width, width, n)]
    return added(*parts, linear(9 * width, d, 196), encoder(d, depth, 197, ratio, qkv_bias=False))


def conv_transformer(d: int, depth: int) -> Counted:
    one = added(norm(d), linear(49, d, 196), linear(d, d, 196), layer(d, 196))
    return added(linear(768, d, 196), *[one] * depth, norm(d), linear(d, CLASSES, 1))


def coatnet_style() -> Counted:
    parts, before, side = [], 3, 224
    for width, stride in ((64, 2), (64, 1), (128, 2), (128, 1), (256, 2)):
        side //= stride
        parts += [linear(9 * before, width, side * side, bias=False), norm(width)]
        before = width
    parts += [layer(256, 28 * 28)] * 6
    parts += [linear(9 * 256, 512, 14 * 14, bias=False), norm(512), *[layer(512, 14 * 14)] * 2]
    return added(*parts, linear(512, CLASSES, 1))


CLOSED = {
    "vit_huge": vit(1280, 32, patch=14, resolution=518),
    "vit_p_1gf": vit(192, 12, 3),
    "vit_p_4gf": vit(384, 12, 3),
    "vit_p_18gf": vit(768, 12),
    "vit_p_36gf": vit(1024, 14),
    "vit_c_1gf": conv_vit((24, 48, 96, 192), (2, 2, 2, 2), 192, 11, 3),
    "vit_c_4gf": conv_vit((48, 96, 192, 384), (2, 2, 2, 2), 384, 11, 3),
    "vit_c_18gf": conv_vit((64, 128, 128, 256, 256, 512), (2, 2, 1, 2, 1, 2), 768, 11, 4),
    "vit_c_36gf": conv_vit((64, 128, 128, 256, 256, 512), (2, 2, 1, 2, 1, 2), 1024, 13, 4),
    "cvt_13": cvt((64, 192, 384), (1, 2, 10), 224),
    "cvt_21": cvt((64, 192, 384), (1, 4, 16), 224),
    "cvt_w24": cvt((192, 768, 1024), (2, 2, 20), 384),
    "t2t_vit_7": t2t(256, 7, 2, performer=True),
    "t2t_vit_10": t2t(256, 10, 2, performer=True),
    "t2t_vit_12": t2t(256, 12, 2, performer=True),
    "t2t_vit_14": t2t(384, 14, 3, performer=True),
    "t2t_vit_19": t2t(448, 19, 3, performer=True),
    "t2t_vit_24": t2t(512, 24, 3, performer=True),
    "t2t_vit_t_14": t2t(384, 14, 3, performer=False),
    "t2t_vit_t_19": t2t(448, 19, 3, performer=False),
    "t2t_vit_t_24": t2t(512, 24, 3, performer=False),
    "conv_transformer_block": conv_transformer(192, 12),
    "coatnet_style_plain": coatnet_style(),
    "hybrid_vit_conv_stem": added(
        *[
            linear(9 * a, b, (224 >> i) ** 2, bias=False)
            for i, (a, b) in enumerate(((3, 64), (64, 128), (128, 256), (256, 768)), 1)
        ],
        *[norm(b) for b in (64, 128, 256, 768)],
        encoder(768, 12, 197),
    ),
}

# The published table lacks the classifier of 769,000 parameters.
R50 = (97_890_112 + linear(768, CLASSES, 1)[0], 21.5346 + 769e-6, "timm 1.0.31 and a classifier")

EXPECTED: dict[str, tuple[int | None, float | None, str]] = {
    **{name: (params, macs / 1e9, FORM) for name, (params, macs) in CLOSED.items()},
    "vit_small_r26_s32": (36_431_912, 3.4639, TIMM),
    "vit_base_r50_s16": R50,
    "vit_tiny": (5_717_416, 1.2537, TIMM),
    "vit_small": (22_050_664, 4.5989, TIMM),
    "vit_small_patch32": (22_878_952, 1.1429, TIMM),
    "vit_base": (86_567_656, 17.5638, TIMM),
    "vit_large": (304_326_632, 61.5547, TIMM),
    "deit_tiny_distilled": (5_910_800, 1.2610, TIMM),
    "deit_small_distilled": (22_436_432, 4.6241, TIMM),
    "deit_base_distilled": (87_338_192, 17.6568, TIMM),
    "deit_tiny": (5_717_416, 1.2537, TIMM),
    "deit_small": (22_050_664, 4.5989, TIMM),
    "deit_base": (86_567_656, 17.5638, TIMM),
    "pit_ti_distilled": (5_104_336, 0.7050, TIMM),
    "pit_xs_distilled": (11_003_984, 1.4069, TIMM),
    "pit_s_distilled": (24_039_056, 2.8966, TIMM),
    "pit_b_distilled": (74_790_096, 12.4824, TIMM),
    "pit_ti": (4_847_272, 0.6991, TIMM),
    "pit_xs": (10_618_888, 1.3947, TIMM),
    "pit_s": (23_461_912, 2.8708, TIMM),
    "pit_b": (73_764_840, 12.4019, TIMM),
    "cait_xxs24": (11_956_264, 2.5235, TIMM),
    "cait_xxs36": (17_299_720, 3.7557, TIMM),
    "cait_xs24": (26_670_088, 19.2406, TIMM),
    "cait_s24": (46_916_200, 9.3273, TIMM),
    "cait_s36": (68_366_632, 47.9080, TIMM),
    "cait_m36": (271_221_352, 172.9437, TIMM),
    "cait_m48": (356_460_520, 329.1077, TIMM),
    "convit_tiny": (5_710_512, 1.2524, TIMM),
    "convit_small": (27_777_322, 5.7466, TIMM),
    "convit_base": (86_540_040, 17.5055, TIMM),
    "swin_tiny": (28_288_354, 4.4906, TIMM),
    "swin_small": (49_606_258, 8.7409, TIMM),
    "swin_base": (87_768_224, 15.4309, TIMM),
    "swin_large": (196_532_476, 34.4758, TIMM),
    "crossvit_tiny": (7_014_800, 1.5627, TIMM),
    "crossvit_9": (8_553_296, 1.8408, TIMM),
    "crossvit_9_dagger": (8_776_592, 1.9790, TIMM),
    "crossvit_small": (26_856_272, 5.6156, TIMM),
    "crossvit_15": (27_528_464, 5.7906, TIMM),
    "crossvit_15_dagger": (28_209_008, 6.1123, TIMM),
    "crossvit_18": (43_271_408, 9.0312, TIMM),
    "crossvit_18_dagger": (44_266_976, 9.4732, TIMM),
    "crossvit_base": (105_025_232, 21.1915, TIMM),
}
