"""The innovations of learning from pictures as named changes, with year and source."""

from __future__ import annotations

from isoloss.algorithms.innovation import innovation

innovation(
    "augmentation", field="vision", title="random crops, mirror images and contrast", year=2003,
    source="Simard, Steinkraus & Platt 2003, ICDAR; Krizhevsky, Sutskever & Hinton 2012",
    old={"augment": "none"}, new={"augment": "crop"},
)  # fmt: skip
