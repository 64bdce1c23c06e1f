"""CoAtNet: closed forms, in test_zoo_coatnet.py part by part."""

EXPECTED: dict[str, tuple[int | None, float | None, str]] = {
    "coatnet_0": (25_036_948, 4.142, "closed form of arXiv:2106.04803, table 3"),
    "coatnet_1": (42_225_904, 8.239, "closed form of arXiv:2106.04803, table 3"),
    "coatnet_2": (74_685_000, 15.502, "closed form of arXiv:2106.04803, table 3"),
    "coatnet_3": (166_966_648, 34.372, "closed form of arXiv:2106.04803, table 3"),
    "coatnet_4": (275_425_672, 60.236, "closed form of arXiv:2106.04803, table 3"),
}
