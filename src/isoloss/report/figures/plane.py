"""The plane a figure is drawn on: two axes, the arms' colours, and layers made of plain rows."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from isoloss.report.figures.axes import Domain
from isoloss.report.words import plain

if TYPE_CHECKING:
    import altair as alt

Rows = list[dict[str, Any]]


def palette_order(arms: Iterable[str], *drawn: str) -> tuple[str, ...]:
    """Arms in the order that fixes their colours, and after them any that is drawn but not among them."""
    return tuple(dict.fromkeys(map(plain, (*arms, *drawn))))


#: Baseline and candidate where a figure has both: told apart without colour too.
ARM_SHAPES = ("circle", "diamond")


@dataclass(frozen=True)
class Axis:
    """One axis: what it spans, whether logarithmic, and its ticks and title as Altair takes them."""

    domain: Domain
    ticks: dict[str, Any] = field(default_factory=dict)
    title: str | None = None
    log: bool = True

    def scale(self) -> alt.Scale:
        """The axis's scale, exactly its domain."""
        import altair as alt

        return alt.Scale(type="log" if self.log else "linear", domain=list(self.domain), nice=False)


@dataclass(frozen=True)
class Plane:
    """Axes and colours shared by all layers of a figure."""

    across: Axis
    up: Axis
    arms: tuple[str, ...]

    def x(self, name: str = "at") -> alt.X:
        """The horizontal encoding of the column `name`."""
        import altair as alt

        axis = alt.Axis(**self.across.ticks)
        return alt.X(f"{name}:Q", scale=self.across.scale(), title=self.across.title, axis=axis)

    def y(self, name: str = "value") -> alt.Y:
        """The vertical encoding of the column `name`."""
        import altair as alt

        return alt.Y(f"{name}:Q", scale=self.up.scale(), title=self.up.title, axis=alt.Axis(**self.up.ticks))

    def colour(self) -> dict[str, Any]:
        """The encoding of an arm's colour."""
        import altair as alt

        return {"color": alt.Color("arm:N", scale=alt.Scale(domain=list(self.arms)), legend=None)}

    def marks(self, rows: Rows, mark: str, encode: dict[str, Any], **properties: Any) -> list[alt.Chart]:
        """One layer of `mark` over `rows`, or none where there are no rows."""
        import altair as alt

        if not rows:
            return []
        # altair resolves a bare string against its whole schema, five milliseconds each
        channels = {k: getattr(alt, k.capitalize())(v) if isinstance(v, str) else v for k, v in encode.items()}
        chart = alt.Chart(alt.InlineData(values=rows))
        return [getattr(chart, f"mark_{mark}")(**properties).encode(**channels)]

    def shown_from(self, width: int) -> dict[str, str]:
        """An opacity for marks that only a figure at least `width` wide has room for."""
        return {"expr": f"width < {width} ? 0 : 1"}

    def dots(self, rows: Rows, size: int, tooltip: Any = None, y: str = "value", **properties: Any) -> list[alt.Chart]:
        """Filled points whose shape is a column of `rows`."""
        import altair as alt

        shape = alt.Shape("shape:N", scale=None, legend=None)
        encode = {"x": self.x(), "y": self.y(y), "shape": shape, **self.colour()}
        if tooltip:
            encode["tooltip"] = tooltip
        return self.marks(rows, "point", encode, filled=True, size=size, **{"opacity": 1, **properties})

    def hollow(self, rows: Rows, size: int, shape: str = "circle", tooltip: Any = None) -> list[alt.Chart]:
        """Outlined points, blank inside: what was not measured."""
        place = {"x": self.x(), "y": self.y(), **({"tooltip": tooltip} if tooltip else {})}
        look = {"size": size, "shape": shape, "opacity": 1}
        return [
            *self.marks(rows, "point", place, style="surface", filled=True, **look),
            *self.marks(rows, "point", place | self.colour(), strokeWidth=2, filled=False, **look),
        ]

    def texts(self, rows: Rows, place: dict[str, Any], style: str = "label", y: str = "value") -> list[alt.Chart]:
        """Direct labels with a halo, so that lines behind them don't disturb."""
        encode = {"x": self.x(), "y": self.y(y), "text": "text:N"}
        inked = {**encode, **(self.colour() if style == "arm" else {})}
        halo = self.marks(rows, "text", encode, style="halo" if style != "note" else ["note", "halo-note"], **place)
        return halo + self.marks(rows, "text", inked, style="label" if style == "arm" else style, **place)
