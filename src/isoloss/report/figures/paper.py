"""A figure as a paper prints it: the page's own definition at a column's width, as PDF, SVG or PNG."""

from __future__ import annotations

import re
from typing import Any

from isoloss.errors import StudyError
from isoloss.report.figures.canvas import Figure

#: Usual widths of one and of two columns, in inches.
WIDTHS = {"single": 3.25, "double": 6.75}
FORMATS = ("pdf", "svg", "png")
_PER_INCH = 96  # CSS pixels, in which figures are defined: their type of 11 px prints as 8 pt
_POINTS = 72 / _PER_INCH
_PNG_SCALE = 300 / _PER_INCH
_TALLEST = 0.8  # of its width, for a figure on a plane; one of rows is as tall as its rows
_INCHES = {"in": 1.0, "cm": 1 / 2.54, "mm": 1 / 25.4, "pt": 1 / 72}
_ROWS = frozenset({"overview", "costs", "slope"})


def width_inches(text: str) -> float:
    """``single``, ``double``, ``3.5`` or ``3.5in``, ``89mm``, ``8.9cm``, ``252pt`` in inches; raises `StudyError`.

    >>> width_inches("single"), width_inches("89mm") == 89 / 25.4, width_inches("3.5")
    (3.25, True, 3.5)
    """
    if text in WIDTHS:
        return WIDTHS[text]
    found = re.fullmatch(r"(\d+(?:\.\d*)?|\.\d+)\s*(in|cm|mm|pt)?", text.strip())
    inches = float(found[1]) * _INCHES[found[2] or "in"] if found else 0.0
    if not 1 <= inches <= 40:
        raise StudyError(f"--width {text}", "is no width from 1 to 40 inches", "say single, double, 3.5in or 89mm")
    return inches


def paper_spec(figure: Figure, inches: float, mode: str = "light", font: str | None = None) -> dict[str, Any]:
    """The complete Vega-Lite specification, everything in it (axes, labels) within `inches` of width."""
    width = round(inches * _PER_INCH)
    spec = {**figure.spec(width, mode), "autosize": {"type": "fit-x", "contains": "padding"}}
    if figure.name not in _ROWS:
        spec["height"] = min(spec["height"], round(_TALLEST * width))
    config = {**spec["config"], "padding": 2}
    if font:
        config = _with_font(config, font)
    return {**spec, "config": config}


def written(figure: Figure, kind: str, inches: float, mode: str = "light", font: str | None = None) -> bytes:
    """The figure as the bytes of a file of `kind`: PDF with its fonts embedded, SVG, or PNG at 300 pixels an inch."""
    import vl_convert

    spec = paper_spec(figure, inches, mode, font)
    if kind == "png":
        return bytes(vl_convert.vegalite_to_png(spec, scale=_PNG_SCALE))
    svg = str(vl_convert.vegalite_to_svg(spec))
    if kind == "svg":
        return _sized(svg, 1 / _PER_INCH, "in").encode()
    return bytes(vl_convert.svg_to_pdf(_sized(svg, _POINTS, "")))  # a unit of a PDF is a point


def _sized(svg: str, scale: float, unit: str) -> str:
    """`svg` with its width and height, pixels until now, times `scale` in `unit`; what it draws fills them."""
    head, end, rest = svg.partition(">")
    head = re.sub(r'\b(width|height)="([\d.]+)"', lambda m: f'{m[1]}="{float(m[2]) * scale:.6g}{unit}"', head)
    return head + end + rest


def _with_font(held: Any, font: str) -> Any:
    """`held` with `font` before every family that it names; what it lacks (superscripts) still comes from those."""
    if isinstance(held, dict):
        return {
            k: f"{font}, {v}" if k in ("font", "labelFont", "titleFont") and isinstance(v, str) else _with_font(v, font)
            for k, v in held.items()
        }
    return held
