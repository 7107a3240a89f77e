"""What every figure shares: the light and dark dress, and how one definition becomes a page element, SVG or PNG."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

#: Arms in order: told apart by people with any common colour-vision deficiency, at least 3:1 against the background.
PALETTE = {
    "light": ["#6b7280", "#0b6bcb", "#c2500a", "#0f8a6b", "#9b4dca", "#a87900", "#c03a6b", "#2b8fb3"],
    "dark": ["#a3abb8", "#5aa9ff", "#ff9a5c", "#3fcfa4", "#c99aff", "#e3b341", "#ff85ad", "#6fd0f0"],
}
_INK = {"light": "#1c2024", "dark": "#e8eaed"}
_QUIET = {"light": "#5c6470", "dark": "#a2abb7"}
_FAINT = {"light": "#e6e8eb", "dark": "#2a3038"}
_SURFACE = {"light": "#ffffff", "dark": "#14181d"}
_ROPE = {"light": "#dfe3e8", "dark": "#333b46"}
_LEVELS = {
    "light": {"gain": "#0b7a5c", "loss": "#b3430a", "none": "#4b5563", "unknown": "#7a5c00"},
    "dark": {"gain": "#55d6a8", "loss": "#ff9f68", "none": "#b6bec9", "unknown": "#e7c45c"},
}
FONT = "Inter, system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, 'Liberation Sans', sans-serif"
#: Tick labels need every superscript digit, which some of the above lack.
TICK_FONT = "Inter, system-ui, -apple-system, 'Segoe UI', 'DejaVu Sans', Roboto, 'Helvetica Neue', Arial, sans-serif"


@dataclass(frozen=True)
class Figure:
    """One figure: its Vega-Lite body, the sentence that replaces it for who can't see it, and the data behind it.

    `body` has no width and no theme; `rows` is tidy data as it is offered for download. `spec` dresses it.
    """

    name: str
    title: str
    alt: str
    body: dict[str, Any]
    rows: list[dict[str, Any]] = field(default_factory=list)

    def spec(self, width: int | str = 640, mode: str = "light") -> dict[str, Any]:
        """The complete Vega-Lite specification; a `width` of ``container`` follows the page."""
        dressed = {**self.body, "width": width, "config": theme(mode), "description": self.alt}
        if width == "container":
            dressed["autosize"] = {"type": "fit-x", "contains": "padding"}
        return dressed

    def vega(self, mode: str = "light") -> dict[str, Any]:
        """The figure compiled to Vega for a page, as wide as its element. Dark differs by `recoloured` alone.

        Compiling here and not in the browser halves the time to the first figure. Marks have no words of their own:
        the page holds one sentence for the whole figure.
        """
        import vl_convert

        spec = self.spec("container", mode)
        del spec["description"]
        return dict(vl_convert.vegalite_to_vega({**spec, "config": {**spec["config"], "aria": False}}))

    def svg(self, width: int = 640, mode: str = "light") -> str:
        """The figure as an SVG document."""
        import vl_convert

        return str(vl_convert.vegalite_to_svg(self.spec(width, mode)))

    def png(self, width: int = 640, mode: str = "light", scale: float = 2.0) -> bytes:
        """The figure as a PNG image, `scale` pixels to a unit."""
        import vl_convert

        return bytes(vl_convert.vegalite_to_png(self.spec(width, mode), scale=scale))


def recoloured() -> dict[str, str]:
    """Every colour of a light figure with the one that it has in the dark."""
    pairs = [(d["light"], d["dark"]) for d in (_INK, _QUIET, _FAINT, _SURFACE, _ROPE)]
    pairs += zip(PALETTE["light"], PALETTE["dark"], strict=True)
    pairs += [(c, _LEVELS["dark"][level]) for level, c in _LEVELS["light"].items()]
    return dict(pairs)


def lean(body: dict[str, Any]) -> dict[str, Any]:
    """A layered chart without what Vega-Lite does not need twice: axes and legends by layer, digits nobody sees."""
    seen: dict[str, Any] = {}
    legends = {
        (name, channel["field"]): channel["legend"]
        for layer in body["layer"]
        for name, channel in layer.get("encoding", {}).items()
        if isinstance(channel, dict) and channel.get("legend") and "field" in channel
    }
    for layer in body["layer"]:
        for name, channel in layer.get("encoding", {}).items():
            if isinstance(channel, dict) and (name, channel.get("field")) in legends:
                # one legend, and the same in every layer: Vega-Lite merges them, and warns where they differ
                channel["legend"] = legends[name, channel["field"]]
            if isinstance(channel, dict) and "axis" in channel:
                title = str(channel.get("title"))
                if seen.setdefault(title, channel["axis"]) is not channel["axis"] and seen[title] == channel["axis"]:
                    del channel["axis"]
    for name, rows in body["datasets"].items():
        body["datasets"][name] = [{k: rounded(v) for k, v in row.items()} for row in rows]
    return body


def rounded(value: Any, digits: int = 5) -> Any:
    """A number to as many significant `digits`; anything else as it is."""
    return float(f"{value:.{digits}g}") if isinstance(value, float) and math.isfinite(value) else value


def theme(mode: str = "light") -> dict[str, Any]:
    """Vega-Lite configuration for a light or dark surface: the only place where figures get colours and type."""
    ink, quiet, faint, surface = _INK[mode], _QUIET[mode], _FAINT[mode], _SURFACE[mode]
    return {
        "background": surface,
        "font": FONT,
        "padding": {"left": 4, "right": 10, "top": 4, "bottom": 4},
        "view": {"stroke": None},
        "range": {"category": PALETTE[mode]},
        "title": {"anchor": "start", "color": quiet, "fontSize": 12, "fontWeight": 400, "offset": 10, "frame": "group"},
        "axis": {
            "labelColor": quiet, "titleColor": quiet, "labelFontSize": 11, "titleFontSize": 12, "titleFontWeight": 400,
            "domainColor": quiet, "tickColor": quiet, "gridColor": faint, 
            "titlePadding": 10, "labelPadding": 6, "tickSize": 4,
        },
        "axisY": {"domain": False, "ticks": False, "labelOverlap": "greedy"},
        "axisX": {"grid": False, "labelOverlap": "greedy", "labelSeparation": 8, "labelFlush": False},
        "axisQuantitative": {"labelFont": TICK_FONT},
        "legend": {"labelColor": ink, "labelFontSize": 12, "labelLimit": 300, "symbolStrokeWidth": 2.5},
        "text": {"fontSize": 12, "color": ink},
        "style": {
            "ink": {"color": ink, "stroke": ink},
            "label": {"fontSize": 12, "fontWeight": 600},
            "halo": {"fontSize": 12, "fontWeight": 600, "stroke": surface, "strokeWidth": 4, "color": surface},
            "note": {"fontSize": 11, "color": quiet, "font": TICK_FONT},
            "halo-note": {"color": surface, "stroke": surface, "strokeWidth": 3},
            "beyond": {"color": ink, "opacity": 0.04},
            "boundary": {"color": quiet, "strokeDash": [2, 3], "strokeWidth": 1},
            "rope": {"color": _ROPE[mode]},
            "unity": {"color": quiet, "strokeWidth": 1.25},
            "surface": {"color": surface},
            **{level: {"color": c, "stroke": c} for level, c in _LEVELS[mode].items()},
        },
    }  # fmt: skip
