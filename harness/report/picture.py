"""Pictures: layers of Altair charts drawn as static SVG, all of one width, which suits a telephone and a desk.

vl-convert draws here, once; the page needs no chart library. Colours stand in the charts as `var(--name)`, which the
page's stylesheet gives a value for light, dark and print. A page puts as many pictures beside one another as it has
room for: text in them keeps the size of the text around them, and nothing is drawn twice.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from harness.analyse.quantity import SPACE
from harness.report.look import Look
from harness.report.svg import clean, description

if TYPE_CHECKING:
    import altair as alt


WIDTH = 384.0
"""Of every picture, in pixels: three fit beside one another on a desk, two on a tablet, one on a telephone."""
HEIGHT = 290.0
"""Of a plot without rows."""
MORE = f"(datum.value > 0 ? '+' : '') + replace(datum.label, '-', '−') + '{SPACE}%'"
"""How an axis of per cent more (see `more`) writes its labels."""


@dataclass(frozen=True)
class Padding:
    """Pixels around the plot that labels are written in."""

    left: float
    right: float
    top: float
    bottom: float


Values = list[dict[str, Any]]
Style = dict[str, Any]
CLASSES = {
    "x": "X",
    "x2": "X2",
    "y": "Y",
    "y2": "Y2",
    "fill": "Fill",
    "stroke": "Stroke",
    "color": "Color",
    "text": "Text",
    "shape": "Shape",
    "size": "Size",
    "strokeDash": "StrokeDash",
    "detail": "Detail",
    "order": "Order",
    "description": "Description",
}
"""Channel → Altair's class of it. The classes are made directly: Altair's shorthand for them is slow."""


def field(shorthand: str) -> Style:
    """A channel that a field drives: `high:Q`, `text:N`."""
    return {"shorthand": shorthand}


def pixels(name: str) -> Style:
    """A channel whose field holds pixels of the plot already."""
    return {"shorthand": f"{name}:Q", "scale": None, "axis": None}


def raw(name: str) -> Style:
    """A channel whose field holds the colour or the shape itself."""
    return {"shorthand": f"{name}:N", "scale": None}


def scaled(name: str, domain: Sequence[float], title: str | None, scale: Style | None = None, **axis: Any) -> Style:
    """A position whose field is laid over an axis from end to end of the domain."""
    whole = {"domain": list(domain), "nice": False} | (scale or {})
    return {"shorthand": f"{name}:Q", "scale": whole, "axis": {"title": title} | axis}


def more(ratio: float) -> float:
    """A ratio as per cent more than one."""
    return 100 * (ratio - 1)


class Picture:
    """A picture being made. Its layers name their data, which are put in once, when it is drawn.

    Data inside the layers would be copied and checked by Altair at every step: most of the time of a page.
    look: hues of strategies, and what the filter finds; title, summary: ids in the page of the texts that say what it
    is and what it shows.
    """

    def __init__(self, look: Look, title: str = "title", summary: str = "summary"):
        self.look = look
        self._ids = (title, summary)
        self._data: dict[str, list[dict[str, Any]]] = {}

    def layer(self, mark: str, values: Values, style: Style | None = None, **channels: Style) -> alt.Chart:
        """One layer. mark: rule, point, rect, line, text; channels: as made by `field`, `pixels`, `raw` and `scaled`.

        Values that hold `about` are described by it (see `about`).
        """
        import altair as alt

        name = f"d{len(self._data)}"
        self._data[name] = values
        if values and "about" in values[0]:
            channels["description"] = field("about:N")
        encoding = {channel: getattr(alt, CLASSES[channel])(**options) for channel, options in channels.items()}
        chart: alt.Chart = getattr(alt.Chart(alt.NamedData(name=name)), f"mark_{mark}")(**style or {})
        encoded: alt.Chart = chart.encode(**encoding)
        return encoded

    def about(self, cells: Sequence[str], text: str = "") -> str:
        """Describe a mark: the cells (hashes) it belongs to, for the filter, and what it says when pointed at."""
        return description(self.look.css(cells), text)

    def draw(self, layers: Sequence[alt.Chart], width: float, height: float, padding: Padding) -> Markup:
        """Draw the layers over one another. width, height: of the plot in pixels."""
        import altair as alt
        import vl_convert

        chart = alt.layer(*layers).properties(
            width=width, height=height, padding=vars(padding), autosize={"type": "none", "contains": "content"}
        )
        spec = chart.to_dict(validate=False) | {"datasets": self._data, "config": CONFIG}
        return clean(vl_convert.vegalite_to_svg(spec), *self._ids)


CONFIG: dict[str, Any] = {
    "background": "transparent",
    "font": "sans-serif",
    "view": {"stroke": None},
    "point": {"opacity": 1},
    "text": {"fontSize": 11, "color": "var(--ink)", "limit": 0, "baseline": "middle"},
    "axis": {
        "domain": False,
        "ticks": False,
        "gridColor": "var(--grid)",
        "labelColor": "var(--muted)",
        "labelFontSize": 11,
        "labelPadding": 6,
        "labelLimit": 0,
        "titleColor": "var(--muted)",
        "titleFontSize": 11,
        "titleFontWeight": "normal",
        "titleLimit": 0,
        "titlePadding": 8,
    },
}
