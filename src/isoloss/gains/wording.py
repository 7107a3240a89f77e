"""Numbers and units as people read them: gains, budgets with real superscripts, slopes."""

from __future__ import annotations

import math

_SUPERSCRIPT = str.maketrans("0123456789-", "⁰¹²³⁴⁵⁶⁷⁸⁹⁻")


def budget(value: float) -> str:
    """A budget to two digits, whole below 10⁵: ``4×10¹⁰``, ``10¹⁵``, ``2512``, ``0.25``.

    >>> budget(4.04e10), budget(1e15), budget(2512)
    ('4×10¹⁰', '10¹⁵', '2512')
    """
    if not math.isfinite(value) or value <= 0:
        return f"{value:g}"
    if 1e-2 <= value < 1e5:
        # a planned budget such as 128 labels is said in full, not as 130
        return f"{value:.0f}" if value >= 100 else f"{float(f'{value:.2g}'):g}"
    mantissa, exponent = f"{value:.1e}".split("e")
    power = "10" + str(int(exponent)).translate(_SUPERSCRIPT)
    mantissa = mantissa.removesuffix(".0")
    return power if mantissa == "1" else f"{mantissa}×{power}"


def times(gain: float, places: int | None = None) -> str:
    """A ratio with sensible digits and no unit, as the tables round it: ``1.04``, ``3.2``, ``24``, ``1,600``.

    `places` fixes the decimals, so that both ends of an interval have as many.

    >>> [times(g) for g in (1.043, 3.21, 24.2, 1623.0)]
    ['1.04', '3.2', '24', '1,600']
    """
    if math.isinf(gain):
        return "∞"
    if gain == 0:
        return "0"
    if not 1e-3 <= gain < 999_500:
        return budget(gain)
    if places is None:
        places = _places(gain)
        if gain >= 10:
            gain = float(f"{gain:.1e}")
    return f"{gain:,.{places}f}"


def _places(gain: float) -> int:
    if 0.5 <= gain < 1.995:
        return 2
    if 1.995 <= gain < 9.95:
        return 1
    return max(0, 1 - math.floor(math.log10(float(f"{gain:.1e}"))))


def between(low: float, high: float) -> str:
    """An interval of ratios: ``1.8–2.4``; one-sided ones as ``more than 1.8`` and ``less than 2.4``."""
    if math.isinf(high):
        return f"more than {times(low)}" if low > 0 else "anything"
    if low == 0:
        return f"less than {times(high)}"
    alike = low >= 0.0995 and high < min(9.95, 4 * low)
    ends = [times(end, _places(low) if alike else None) for end in (low, high)]
    return ends[0] if ends[0] == ends[1] else "–".join(ends)


def signed(value: float) -> str:
    """A slope to two decimals with a real minus sign: ``0.31``, ``−0.04``."""
    text = f"{value:.2f}" if abs(value) >= 0.0995 or value == 0 else f"{value:.3f}"
    return text.replace("-", "−").replace("inf", "∞")


def slopes(low: float, high: float) -> str:
    """An interval of slopes: ``−0.04 to 0.31``; one-sided ones as ``above −0.04`` and ``below 0.31``.

    >>> slopes(-0.04, 0.31), slopes(-math.inf, 0.5), slopes(-0.2, math.inf)
    ('−0.040 to 0.31', 'below 0.50', 'above −0.20')
    """
    if math.isinf(low) and math.isinf(high):
        return "anything"
    if math.isinf(low):
        return f"below {signed(high)}"
    return f"above {signed(low)}" if math.isinf(high) else f"{signed(low)} to {signed(high)}"


#: Resources in bytes as a sentence says them: "3.1 MB of peak memory".
_OF_BYTES = {
    "peak_memory_bytes": "peak memory",
    "activation_bytes": "activation memory",
    "bytes_communicated": "communication",
    "bytes_moved": "memory traffic",
    "stored_bytes": "stored model",
}


def amount(value: float, resource: str) -> str:
    """An amount of a resource in a sentence.

    >>> amount(4.04e10, "train_flops"), amount(3.14e6, "peak_memory_bytes")
    ('4×10¹⁰ training FLOPs', '3.1 MB of peak memory')
    """
    if resource not in _OF_BYTES or not math.isfinite(value) or value <= 0:
        return f"{budget(value)} {resource_words(resource)}"
    step = min(max(math.floor(math.log10(value) + 1e-12) // 3, 0), 5)
    unit = ("B", "kB", "MB", "GB", "TB", "PB")[step]
    return f"{budget(float(f'{value:.2g}') / 1000**step)} {unit} of {_OF_BYTES[resource]}"


def resource_words(resource: str) -> str:
    """A resource column as words: ``train_flops`` is ``training FLOPs``."""
    words = {"flops": "FLOPs", "train": "training", "params": "parameters"}
    return " ".join(words.get(w, w) for w in resource.split("_"))
