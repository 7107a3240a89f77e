"""The figures: each is defined once, in Altair, and becomes page element, SVG, PNG and CSV from that definition."""

from isoloss.report.figures.canvas import Figure, theme
from isoloss.report.figures.gain import figure_gain
from isoloss.report.figures.overview import figure_overview
from isoloss.report.figures.quality import figure_quality
from isoloss.report.figures.ratios import figure_ratios
from isoloss.report.figures.residuals import figure_residuals
from isoloss.report.figures.slopes import figure_slopes
from isoloss.report.figures.tuning import figure_tuning, swept_choices

__all__ = [
    "Figure",
    "figure_gain",
    "figure_overview",
    "figure_quality",
    "figure_ratios",
    "figure_residuals",
    "figure_slopes",
    "figure_tuning",
    "swept_choices",
    "theme",
]
