"""Gains against named rows: one logarithmic axis, a line at one, points and bars."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from isoloss.report import words
from isoloss.report.figures import axes
from isoloss.report.figures.canvas import Figure, lean
from isoloss.report.figures.plane import Axis, Plane, Rows

if TYPE_CHECKING:
    import altair as alt


class GainRows:
    """A logarithmic axis of gains against one named row each."""

    def __init__(
        self, titles: list[str], domain: axes.Domain, arms: tuple[str, ...], title: str, legend: bool = False
    ) -> None:
        import altair as alt

        self.titles = titles
        ticks = axes.labelled(axes.log_ticks(domain, 6, anchor=1.0), lambda v: f"{words.tick(v)}×")
        self.plane = Plane(Axis(domain, ticks, title), Axis((0.0, 1.0), log=False), arms)
        self.y = alt.Y(
            "title:N",
            sort=titles,
            scale=alt.Scale(domain=titles),
            title=None,
            axis=alt.Axis(labelLimit=175, grid=True),
        )
        self.colour = self.plane.colour()
        if legend:
            shown = alt.Legend(title=None, orient="bottom", columns=1, symbolOpacity=1)
            self.colour = {"color": alt.Color("arm:N", scale=alt.Scale(domain=list(arms)), legend=shown)}

    def unity(self) -> list[alt.Chart]:
        """The line at a gain of one."""
        return self.plane.marks([{"value": 1.0}], "rule", {"x": self.plane.x("value")}, style="unity")

    def points(self, rows: Rows, size: int, hollow: bool) -> list[alt.Chart]:
        """One point a row of data, at its `value`."""
        import altair as alt

        place = {"x": self.plane.x("value"), "y": self.y, **self.colour}
        place["tooltip"] = [
            alt.Tooltip("title:N", title=" "),
            alt.Tooltip("text:N", title="gain"),
            alt.Tooltip("arm:N"),
        ]
        look = {"filled": False, "strokeWidth": 2} if hollow else {"filled": True}
        return self.plane.marks(rows, "point", place, size=size, opacity=1, **look)

    def ranges(self, rows: Rows, **look: Any) -> list[alt.Chart]:
        """One bar a row of data, from `low` to `high`."""
        place = {"x": self.plane.x("low"), "x2": "high:Q", "y": self.y, **self.colour}
        return self.plane.marks(rows, "rule", place, **look)

    def texts(self, rows: Rows) -> list[alt.Chart]:
        """The `text` of each row of data beside its `value`."""
        place = {"x": self.plane.x("value"), "y": self.y, "text": "text:N"}
        return self.plane.marks(rows, "text", place, style="note", align="left", dx=9)

    def figure(self, name: str, title: str, said: str, layers: list[alt.Chart], rows: Rows) -> Figure:
        """The whole, `said` being what it shows in words."""
        import altair as alt

        chart = alt.layer(*layers, height=27 * len(self.titles))
        return Figure(name, title, f"{title}. {said}.", lean(chart.to_dict(validate=False)), rows)
