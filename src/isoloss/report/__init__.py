"""What people see of a result: the page, the terminal and the figures. Computes nothing, imports nothing heavy."""

from __future__ import annotations

from importlib import import_module
from typing import Any

_HOMES = {
    "render_page": "isoloss.report.page",
    "write_page": "isoloss.report.page",
    "print_gain": "isoloss.report.terminal",
    "print_result": "isoloss.report.terminal",
    "Figure": "isoloss.report.figures",
    "figure_gain": "isoloss.report.figures",
    "figure_quality": "isoloss.report.figures",
    "figure_ratios": "isoloss.report.figures",
    "figure_tuning": "isoloss.report.figures",
}

__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
