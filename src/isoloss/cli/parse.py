"""Option values that hold more than one thing, read or refused in one line."""

from __future__ import annotations

from pathlib import Path

from isoloss.errors import IsolossError


def pairs(flag: str, given: list[str] | None, example: str) -> dict[str, str]:
    """``name=value`` options as a mapping."""
    pairs = {}
    for text in given or ():
        name, sign, value = text.partition("=")
        if not sign or not name.strip() or not value.strip():
            raise IsolossError(flag, f"'{text[:40]}' is not name=value", f"such as {flag} {example}")
        pairs[name.strip()] = value.strip()
    return pairs


def number(flag: str, name: str, text: str) -> float:
    """A number, or a refusal that names the flag and the field."""
    try:
        return float(text)
    except ValueError:
        raise IsolossError(f"{flag} {name}", f"'{text[:40]}' is not a number", "such as 1.8") from None


def span(text: str) -> tuple[int, int]:
    """``2013:2025`` as two years."""
    first, _, last = text.partition(":")
    try:
        return int(first), int(last)
    except ValueError:
        raise IsolossError("--years", f"'{text[:40]}' is no span of years", "write --years 2013:2025") from None


def number_or_path(text: str) -> float | Path:
    """A number where the text is one, else a path."""
    try:
        return float(text)
    except ValueError:
        return Path(text)


def listed(text: str) -> list[str]:
    """What commas separate."""
    return [part.strip() for part in text.split(",") if part.strip()]


def floor_of(text: str) -> str | float:
    """shared, free, or a number."""
    if text in ("shared", "free"):
        return text
    try:
        return float(text)
    except ValueError:
        raise IsolossError("--floor", f"'{text[:40]}' is not a floor", "give shared, free, or a number") from None
