"""The common style of a report's plots: colors, sizes, axes; PNG without pyplot's global state."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO

from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

# Okabe and Ito's colors, distinguishable with all common kinds of color blindness: those visible on a light
# page, and those visible on a dark one.
_LIGHT = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
_DARK = ("#56B4E9", "#E69F00", "#009E73", "#CC79A7", "#F0E442", "#D55E00")
# Markers differ as well as colors, for print and for readers who do not see color.
MARKERS = ("o", "s", "^", "D", "v", "P")
OTHERS = ("#8A8F98", "X")


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """Color scheme and size of a plot.

    Attributes:
        dark: For a dark page.
        narrow: For a phone: square, with the legend in few columns.
    """

    dark: bool = False
    narrow: bool = False

    @property
    def background(self) -> str:
        return "#16191d" if self.dark else "#ffffff"

    @property
    def colors(self) -> tuple[str, ...]:
        return _DARK if self.dark else _LIGHT

    @property
    def ink(self) -> str:
        return "#e8eaed" if self.dark else "#1c2024"

    @property
    def faint(self) -> str:
        return "#31363d" if self.dark else "#e3e6ea"

    @property
    def inches(self) -> tuple[float, float]:
        return (4.1, 4.6) if self.narrow else (8.4, 4.7)

    @property
    def points(self) -> float:
        """Font size."""
        return 9.5 if self.narrow else 10.5


def new_figure(look: Look) -> tuple[Figure, Axes]:
    """Returns an empty figure with one pair of axes in the page's colors."""
    figure = Figure(figsize=look.inches, layout="constrained", facecolor=look.background)
    FigureCanvasAgg(figure)
    axes = figure.add_subplot(facecolor=look.background)
    axes.grid(visible=True, color=look.faint, linewidth=0.8)
    axes.set_axisbelow(True)
    for side, spine in axes.spines.items():
        spine.set_visible(side in ("left", "bottom"))
        spine.set_color(look.ink)
    axes.tick_params(which="both", colors=look.ink, labelsize=look.points)
    return figure, axes


def label_axes(axes: Axes, look: Look, *, x: str, y: str) -> None:
    axes.set_xlabel(x, color=look.ink, fontsize=look.points)
    axes.set_ylabel(y, color=look.ink, fontsize=look.points)


def add_legend(figure: Figure, look: Look, handles: Sequence[Artist], *, columns: int) -> None:
    """Adds a legend below the axes, in `columns` columns or as many as fit."""
    for number in range(min(columns, len(handles)), 0, -1):
        legend = figure.legend(
            handles=list(handles),
            labels=[str(handle.get_label()) for handle in handles],
            loc="outside lower center",
            ncols=number,
            frameon=False,
            fontsize=look.points,
            labelcolor=look.ink,
            columnspacing=1.4,
            handletextpad=0.5,
        )
        for text in legend.get_texts():
            text.set_parse_math(False)
        if number == 1 or legend.get_window_extent().width <= figure.bbox.width:
            return
        legend.remove()


def to_png(figure: Figure, look: Look) -> bytes:
    """Returns the figure as a PNG, sharp on screens of twice the usual density."""
    drawn, small = BytesIO(), BytesIO()
    figure.savefig(drawn, format="png", dpi=180 if look.narrow else 150)
    # A palette suffices for a chart and more than halves the file size.
    Image.open(drawn).convert("RGB").quantize(256, dither=Image.Dither.NONE).save(small, format="png", optimize=True)
    return small.getvalue()
