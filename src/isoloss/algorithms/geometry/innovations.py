"""The innovations of networks that know a symmetry, as named changes, with year and source."""

from __future__ import annotations

from isoloss.algorithms.innovation import innovation

innovation(
    "rotation-augmentation", field="geometry", also=["vision"], title="training images turned by random angles",
    year=2003, source="Simard, Steinkraus & Platt 2003, ICDAR; Brehmer et al. 2024, arXiv 2410.23179 (as a rival)",
    old={"augmented": False}, new={"augmented": True},
)  # fmt: skip
innovation(
    "turn-averaging", field="geometry", also=["vision"], title="predictions averaged over 8 turns of the image",
    year=2012, source="Krizhevsky, Sutskever & Hinton 2012, NeurIPS (over crops and mirror images)",
    old={"averaged": 1}, new={"averaged": 8},
)  # fmt: skip
innovation(
    "steerable-regular", field="geometry", also=["vision"],
    title="steerable network with regular features, over a plain one",
    year=2019, source="Weiler & Cesa 2019, arXiv 1911.08251",
    old={"algorithm": "geometry/plane-cnn"}, new={"algorithm": "geometry/steerable-regular"},
)  # fmt: skip
innovation(
    "steerable-harmonic", field="geometry", also=["vision"],
    title="steerable network with gated harmonics, over a plain one",
    year=2016, source="Worrall et al. 2017, arXiv 1612.04642; Weiler & Cesa 2019, arXiv 1911.08251",
    old={"algorithm": "geometry/plane-cnn"}, new={"algorithm": "geometry/steerable-harmonic"},
)  # fmt: skip
innovation(
    "restricted-group", field="geometry", also=["vision"], title="mirrors in shallow layers only (D8, then C8)",
    year=2019, source="Weiler & Cesa 2019, arXiv 1911.08251, section 2.6",
    old={"group": "C8", "deep_group": None}, new={"group": "D8", "deep_group": "C8"},
)  # fmt: skip
