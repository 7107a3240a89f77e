"""Numbers, intervals and names as people read them: ``3.2×``, ``4×10¹⁰ FLOP``; never ``1e+15`` or ``nan``."""

from __future__ import annotations

import math
import re
import unicodedata
from typing import TYPE_CHECKING

from isoloss.runs import RESOURCES

if TYPE_CHECKING:  # words wait for no statistics
    from isoloss.gains.result import GainPoint, Interval

#: What stands where there is no number.
NOTHING = "–"

_TYPED = re.compile(r"(?<![\w.])(\d{1,3}(?:\.\d{1,4})?)e[+-]?\d{1,2}(?![\w.]*\w)")
_SUPERSCRIPT = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")

_RESOURCE_TITLES = {
    "train_flops": "training compute",
    "tuning_flops": "tuning compute",
    "inference_flops": "compute per prediction",
    "examples": "training examples",
    "unique_examples": "distinct examples",
    "labels": "labels",
    "parameters": "parameters",
    "active_parameters": "active parameters",
    "non_embedding_parameters": "non-embedding parameters",
    "stored_bytes": "stored size",
    "six_nd_flops": "6ND",
    "peak_memory_bytes": "peak memory",
    "activation_bytes": "activation memory",
    "process_peak_bytes": "peak memory of the process",
    "bytes_moved": "memory traffic",
    "bytes_communicated": "communication",
    "joules": "energy, measured",
    "modelled_joules": "energy, modelled",
    "utilisation": "share of the matmul rate",
    "seconds": "wall time",
    "steps": "optimiser steps",
}

_CHOICE_TITLES = {"lr": "learning rate", "learning_rate": "learning rate", "wd": "weight decay"}


def scientific(value: float, digits: int = 2) -> str:
    """A number as mantissa and power of ten with real superscripts.

    >>> scientific(4e10), scientific(1e9), scientific(2.54e-7), scientific(-3e5)
    ('4×10¹⁰', '10⁹', '2.5×10⁻⁷', '−3×10⁵')
    """
    if not math.isfinite(value):
        return NOTHING if math.isnan(value) else ("∞" if value > 0 else "−∞")
    if value == 0:
        return "0"
    mantissa, exponent = f"{abs(value):.{digits - 1}e}".split("e")
    mantissa = mantissa.rstrip("0").rstrip(".") if "." in mantissa else mantissa
    power = "10" + str(int(exponent)).translate(_SUPERSCRIPT)
    return ("−" if value < 0 else "") + (power if mantissa == "1" else f"{mantissa}×{power}")


def decimals(value: float, digits: int) -> int:
    """How many decimals show `value` to `digits` significant digits."""
    if value == 0 or not math.isfinite(value):
        return 0
    rounded = float(f"{abs(value):.{digits - 1}e}")
    return max(0, digits - 1 - math.floor(math.log10(rounded)))


def fixed(value: float, places: int) -> str:
    """A number with a fixed count of decimals, thousands separators and a real minus sign; never minus zero."""
    text = f"{abs(value):,.{places}f}"
    return text if value >= 0 or not text.strip("0.,") else "−" + text


def number(value: float | None, digits: int = 3) -> str:
    """A plain number with `digits` significant digits, scientific where that is shorter.

    >>> number(1.23456), number(81234.0), number(1e-5), number(None), number(-0.5)
    ('1.23', '81,200', '10⁻⁵', '–', '−0.5')
    """
    if value is None or math.isnan(value):
        return NOTHING
    if value != 0 and not 1e-3 <= abs(value) < 1e6:
        return scientific(value, digits)
    rounded = float(f"{value:.{digits - 1}e}")
    text = fixed(rounded, decimals(value, digits))
    return text.rstrip("0").rstrip(".") if "." in text else text


def quality(value: float | None) -> str:
    """A quality (loss, error, accuracy) with four significant digits, zeros kept so that columns align."""
    if value is None or math.isnan(value):
        return NOTHING
    if value != 0 and (not math.isfinite(value) or not 1e-4 <= abs(value) < 1e5):
        return scientific(value, 3)
    return fixed(value, min(decimals(value, 4), 5))


def _times_places(value: float) -> int:
    if 0.5 <= value < 1.995:
        return 2
    return 1 if 1.995 <= value < 9.95 else decimals(value, 2)


def _far(value: float) -> bool:
    return value != 0 and not 1e-3 <= value < 999_500


def _ratio(value: float, places: int | None = None) -> str:
    if _far(value):
        return scientific(value)
    if places is None:
        places = _times_places(value)
        if value >= 10:
            value = float(f"{value:.1e}")
    return fixed(value, places)


def times(value: float | None) -> str:
    """A gain or ratio: two decimals near one, two significant digits elsewhere.

    >>> times(3.21), times(1.034), times(0.62), times(21400), times(2.3e7), times(None)
    ('3.2×', '1.03×', '0.62×', '21,000×', '2.3×10⁷ times', '–')
    """
    if value is None or math.isnan(value):
        return NOTHING
    if math.isinf(value):
        return "∞"
    return f"{_ratio(value)} times" if _far(value) else f"{_ratio(value)}×"


def span(interval: Interval | None) -> str:
    """An interval of gains without the sign: ``1.8–2.4``, ``> 3.1``, ``< 0.4``.

    >>> span((2.84, 3.71)), span((3.1, float("inf"))), span((0.0, 0.4)), span((0.3, 96.0)), span(None)
    ('2.8–3.7', '> 3.1', '< 0.40', '0.30–96', '–')
    """
    if interval is None or any(math.isnan(end) for end in interval):
        return NOTHING
    low, high = interval
    if low <= 0 and math.isinf(high):
        return "unbounded"
    if math.isinf(high):
        return f"> {_ratio(low)}"
    if low <= 0:
        return f"< {_ratio(high)}"
    alike = low >= 0.0995 and high < min(9.95, 4 * low)
    ends = [_ratio(end, _times_places(low) if alike else None) for end in interval]
    return ends[0] if ends[0] == ends[1] else "–".join(ends)


def span_times(interval: Interval | None) -> str:
    """An interval of gains with its sign: ``1.8–2.4×``."""
    text = span(interval)
    if text in (NOTHING, "unbounded"):
        return text
    return f"{text} times" if text.endswith(tuple("⁰¹²³⁴⁵⁶⁷⁸⁹")) else f"{text}×"


def headline(gain: float | None, interval: Interval | None) -> str:
    """What a verdict is read by: the gain; what bounds it where there is none; and no number that nothing bounds.

    >>> headline(1.79, (1.51, 2.51)), headline(None, (3.1, float("inf"))), headline(58.0, (0.0, float("inf")))
    ('1.79×', '> 3.1×', 'unbounded')
    """
    return span_times(interval) if gain is None or interval == (0.0, math.inf) else times(gain)


def gain(point: GainPoint) -> str:
    """A gain as it may honestly be read: a number, a bound, an interval with its distance, or that there is none."""
    if point.region == "censored":
        return span_times(point.interval) if point.interval else "not reached"
    if point.region == "withheld":
        return f"{span_times(point.interval)} (withheld: {point.decades_out:.1f} decades out)"
    if point.region == "undefined" or point.gain is None or math.isnan(point.gain):
        return "undefined"
    return times(point.gain)


def signed(value: float | None, places: int = 3) -> str:
    """A slope or difference with its sign always shown: ``+0.12``, ``−0.03``."""
    if value is None or math.isnan(value):
        return NOTHING
    if math.isinf(value):
        return "∞" if value > 0 else "−∞"
    text = fixed(value, places)
    return f"+{text}" if value > 0 and text.strip("0.,") else text


def limits(interval: Interval | None, places: int | None = 3, *, sign: bool = False) -> str:
    """An interval of any numbers: ``0.07 to 0.12`` (a dash would read as a minus sign here)."""
    if interval is None or any(math.isnan(end) for end in interval):
        return NOTHING
    low, high = (signed(end, places or 3) if sign else _end(end, places) for end in interval)
    return f"{low} to {high}"


def _end(value: float, places: int | None) -> str:
    if math.isinf(value):
        return "∞" if value > 0 else "−∞"
    return quality(value) if places is None else fixed(value, places)


def duration(seconds: float | None) -> str:
    """Wall time in the two units that matter.

    >>> duration(0.042), duration(7.31), duration(125), duration(5400), duration(200000)
    ('42 ms', '7.3 s', '2 min 5 s', '1 h 30 min', '2 d 8 h')
    """
    if seconds is None or not math.isfinite(seconds):
        return NOTHING
    if seconds < 1:
        return f"{number(seconds * 1e3, 2)} ms"
    if seconds < 60:
        return f"{number(seconds, 2)} s"
    whole = round(seconds)
    for size, unit, below, sub in ((86400, "d", 3600, "h"), (3600, "h", 60, "min"), (60, "min", 1, "s")):
        if whole >= size:
            rest = round((whole % size) / below)
            return f"{whole // size} {unit}" + (f" {rest} {sub}" if rest else "")
    return f"{whole} s"


def amount(value: float | None, unit: str = "", digits: int = 2) -> str:
    """An amount of a resource with its unit: ``4×10¹⁰ FLOP``, ``1.2 GB``, ``3.4 million parameters``.

    >>> amount(4e10, "FLOP"), amount(1.23e9, "B"), amount(3.4e6, "parameters"), amount(8200, "examples")
    ('4×10¹⁰ FLOP', '1.2 GB', '3.4 million parameters', '8,200 examples')
    """
    if value is None or math.isnan(value):
        return NOTHING
    if unit == "s":
        return duration(value)
    if math.isinf(value):
        return "∞"
    if unit in ("B", "J") and value >= 1000:
        step = min(int(math.log10(value) // 3), 5)
        return f"{number(value / 1000**step, digits)} {' kMGTP'[step]}{unit}"
    if unit in ("FLOP", "") and value >= 1e5:
        return f"{scientific(value, digits)} {unit}".strip()
    for size, word in ((1e12, "trillion"), (1e9, "billion"), (1e6, "million")):
        if size <= value < 1000 * size:
            return f"{number(value / size, digits)} {word} {unit}".strip()
    return f"{number(value, max(digits, 3))} {unit}".strip()


def tick(value: float) -> str:
    """A short label for a logarithmic axis: ``0.5``, ``300``, ``3×10⁹``."""
    return scientific(value, 3) if value >= 1e5 or 0 < value < 1e-3 else number(value, 4)


def resource_title(resource: str) -> str:
    """A resource's name in words; one that is not known shows its own name."""
    return _RESOURCE_TITLES.get(resource, plain(resource).replace("_", " "))


def resource_unit(resource: str) -> str:
    """A resource's unit, empty for one that is not known."""
    return RESOURCES[resource][0] if resource in RESOURCES else ""


def budget_column(resource: str) -> tuple[str, str]:
    """The heading of a column of budgets, and the unit that each of its cells still needs."""
    unit = resource_unit(resource)
    return ("budget", unit) if unit in ("B", "J", "s", "") else (f"budget ({unit})", "")


def resource_axis(resource: str) -> str:
    """A resource's name with its unit, as an axis title."""
    title, unit = resource_title(resource), resource_unit(resource)
    return title if not unit or unit in title else f"{title} ({unit})"


def choice_title(choice: str) -> str:
    """A hyper-parameter's name in words."""
    return _CHOICE_TITLES.get(choice, plain(choice).replace("_", " "))


def plain(text: object, limit: int | None = None) -> str:
    """Text from data as one visible line: control and direction-changing characters gone, cut at `limit`.

    >>> plain("a\\x1b[31m b\\n c"), plain("abcdefgh", 5)
    ('a[31m b c', 'abcd…')
    """
    line = re.sub(r"\s+", " ", visible(text)).strip()
    return line if limit is None or len(line) <= limit else line[: limit - 1].rstrip() + "…"


def prose(text: object, limit: int | None = None) -> str:
    """Somebody's sentence as `plain` text, its numbers as people write them.

    >>> prose("worth it at 8e9 to 2.2e+11 FLOPs, run 1e5b")
    'worth it at 8×10⁹ to 2.2×10¹¹ FLOPs, run 1e5b'
    """
    return _TYPED.sub(lambda m: scientific(float(m[0]), len(m[1].replace(".", ""))), plain(text, limit))


def visible(text: object) -> str:
    """Text from data with white space as it is, but without control and direction-changing characters."""
    return "".join(c for c in str(text) if c in "\n\r\t" or unicodedata.category(c)[0] != "C")


def plural(count: int, noun: str) -> str:
    """A count with its noun: ``1 run``, ``1,200 runs``."""
    return f"{count:,} {noun}" + ("" if count == 1 else "s")
