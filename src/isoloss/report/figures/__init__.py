"""The figures: each is defined once, in Altair, and becomes page element, SVG, PNG and CSV from that definition."""

from isoloss.report.figures.canvas import Figure, theme
from isoloss.report.figures.gain import figure_gain

__all__ = ["Figure", "figure_gain", "theme"]
