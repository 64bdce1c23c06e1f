"""What numbers of a network may be in the space around it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Steps:
    """What a number of the network may be in its space.

    Attributes:
        smaller: Nothing is larger than in the network, so that its weights suffice for every member.
    """

    smaller: bool = False

    @property
    def widths(self) -> tuple[float, ...]:
        """What widths are near, as shares of the network's own, which is one of them."""
        return (0.375, 0.5, 0.625, 0.75, 0.875) if self.smaller else (0.5, 0.75, 1.25)

    def values(self, name: str, value: int | float) -> list[int | float]:
        """What a kernel or an expansion may be, the network's own value among it."""
        if name == "kernel_size":
            near = [k for k in (int(value) - 2, int(value), int(value) + 2) if k >= 3]
        elif float(value).is_integer():
            # An expansion of one leaves the expanding layer out, so that other weights are needed.
            least = max(min(2, int(value)), int(value) // 2) if self.smaller else max(1, int(value) - 1)
            near = list(range(least, int(value) + 2))
        else:
            near = sorted({round(0.75 * value, 2), value, round(1.25 * value, 2)})
            near = sorted({round(0.5 * value, 2), *near}) if self.smaller else near
        return [each for each in near if each <= value or not self.smaller]

    def depths(self, number: int) -> list[int]:
        """What a number of layers may be, the network's own among it."""
        if self.smaller:
            return sorted({max(1, round(share * number)) for share in (0.25, 0.5, 0.75, 1)})
        if number <= 3:
            return list(range(max(1, number - 1), number + 2))
        return sorted({round(share * number) for share in (0.5, 0.75, 1, 1.25)})
