"""The family that all charts belong to: a colour-blind-safe palette (Okabe and Ito), a line style and a marker that
vary along with the colour, axes with units.

Figures are built without pyplot, so that nothing is kept alive behind the lesson's back and no backend is chosen.
"""

import functools
import io
import os
from pathlib import Path
from typing import NamedTuple

from torch import Tensor

PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#603000")
LINES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)), (0, (1, 1)), (0, (8, 3)), (0, (3, 1)))
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
#: Every branch of a V1 module has one colour in all charts.
BRANCHES = {
    "b1": ("1 x 1", PALETTE[0]),
    "b3": ("3 x 3", PALETTE[1]),
    "b5": ("5 x 5", PALETTE[2]),
    "pool": ("pool", PALETTE[3]),
}

_MORE_MARKERS = ("<", "d", ">", "p", "h", "H", "8", "|")  # from the ninth series on

_STYLE = {
    "font.size": 10,
    "axes.titlesize": 11,
    "axes.titlelocation": "left",
    "axes.titleweight": "bold",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#E6E6E6",
    "axes.axisbelow": True,
    "axes.edgecolor": "#666666",
    "legend.frameon": False,
    "image.cmap": "viridis",
    "figure.constrained_layout.use": True,
}
PALE, GREY, INK = "#C4C4C4", "#6E6E6E", "#222222"


class Chart:
    """A figure with a title and ``alt``, a sentence that says what it shows. Shown by Jupyter; ``save(path)`` writes
    the PNG. ``colours`` keeps at most so many (256 or fewer) in it, which halves the file of a noisy picture; 0 keeps
    all.

    Raises ValueError for an ``alt`` of fewer than 20 characters.
    """

    def __init__(self, figure, title: str, alt: str, *, colours: int = 0):
        if not isinstance(alt, str) or len(alt) < 20:
            raise ValueError(f"alt says in a sentence what the chart shows; got {alt!r}")
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png", dpi=100, facecolor="white")
        if colours:
            from PIL import Image

            drawn, buffer = Image.open(buffer).convert("RGB"), io.BytesIO()
            drawn.quantize(colours, dither=Image.Dither.NONE).save(buffer, "png", optimize=True)
        self.figure, self.title, self.alt, self.png = figure, title, alt, buffer.getvalue()

    def _repr_mimebundle_(self, include=None, exclude=None):
        return {"image/png": self.png, "text/plain": repr(self)}, {"image/png": {"alt": self.alt}}

    def __repr__(self) -> str:
        return f"<Chart: {self.title}>"

    def save(self, path) -> None:
        """Write the picture as a PNG file: beside, then renamed, so that a full disk leaves what was there whole.

        Raises OSError, with the file's name, where it cannot be written.
        """
        path = Path(path)
        beside = path.with_name(f".{path.name}.{os.getpid()}.part")
        try:
            beside.write_bytes(self.png)
            os.replace(beside, path)
        except OSError as error:  # it knows no name, or that of the file beside
            raise OSError(error.errno, error.strerror, str(path)) from error
        finally:
            beside.unlink(missing_ok=True)


def positive(name: str, value: object) -> None:
    """Raise ValueError unless ``value`` is a whole number of at least 1; ``name`` is what it is."""
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise ValueError(f"{name} is a whole number of at least 1, not {value!r}")


def came(value: object) -> str:
    """What was handed in, in a few words for the sentence of an error."""
    return f"a tensor {tuple(value.shape)}" if isinstance(value, Tensor) else f"{value!r}"[:80]


class Look(NamedTuple):
    """How one series is drawn: its colour, its line style and its marker."""

    colour: str
    line: object
    marker: str


def look_of(i: int) -> Look:
    """Number of a series, from 0 -> its look. No two of the first 64 are alike, and no two of the first 16 share a
    marker.

    From the ninth on a colour comes again, with another line style and another marker than it had before.
    """
    k, again = i % len(PALETTE), i // len(PALETTE)
    markers = MARKERS + _MORE_MARKERS
    return Look(PALETTE[k], LINES[(k + again) % len(LINES)], markers[i % len(markers)])


def styled(draw):
    """Decorate a function that makes a chart: it runs in the course's style, whatever matplotlib's settings are
    outside.

    ``draw`` is that function.
    """

    @functools.wraps(draw)
    def in_style(*args, **options):
        import matplotlib

        with matplotlib.rc_context(_STYLE):
            return draw(*args, **options)

    return in_style


def canvas(rows: int = 1, columns: int = 1, *, size: tuple[float, float] = (8.0, 3.6), **options):
    """Empty figure and its axes (an array unless there is one), to draw on within a ``styled`` function and hand to
    ``Chart``.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=size)
    return figure, figure.subplots(rows, columns, **options)


def bare(ax, hide: bool = False, frame: bool = False) -> None:
    """Take all but its picture off ``ax``; with ``frame`` a frame stays, with ``hide`` nothing does."""
    ax.set(xticks=[], yticks=[])
    ax.grid(False)
    ax.set_visible(not hide)
    for spine in ax.spines.values():
        spine.set(visible=frame, linewidth=3, color=PALETTE[1])


def halo() -> dict:
    """A pale ground for words that lie on lines."""
    return {"facecolor": "white", "edgecolor": "none", "alpha": 0.75, "pad": 0.6}


def plain(size: tuple[float, float]):
    """A figure whose axes stand where they are put: nothing moves between frames, and it is drawn faster."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=size)
    figure.set_layout_engine("none")  # as an argument it would be forgotten when the figure is saved
    return figure
