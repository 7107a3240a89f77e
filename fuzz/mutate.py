"""Mutations that know the structure of what they spoil: text by words and lines, trees by key and value, tables by cell
and column, files by bit and block."""

from __future__ import annotations

import json
import re
from random import Random
from typing import Any

import polars as pl

#: What has broken readers before, here or elsewhere.
HOSTILE = (
    "", " ", "\t", "\n", "\r\n", "\x00", "\x1b[31mred\x1b[0m", "\x7f", "\u202egnp.exe", "\u200b", "\ufeff", "ﬀ", "İ",
    "é" * 300, "\U0001f469\u200d\U0001f680", "\U0010ffff", "../../etc/passwd", "/etc/passwd", "C:\\con", "~root", ".",
    "..", "a/../b", "file:///etc/passwd", "'; DROP TABLE runs; --", '" OR 1=1 --', "%s%n", "{0}", "{{7*7}}", "${HOME}",
    "$(id)", "`id`", "[red]x[/]", "[/]", "<script>alert(1)</script>", "</script>", "&amp;", "=1+1", "@SUM(A1)",
    "-1", "0", "1", "-0.0", "1e308", "1e309", "-1e309", "5e-324", "nan", "NaN", "inf", "-inf", "Infinity", "1_000",
    "1,5", "0x10", "9" * 20, "9" * 400, "9223372036854775808", "-9223372036854775809", "true", "null", "None", "[]",
    "{}", "[[[[", "1970-01-01", "*" * 40 + "a", "(" * 150, "train_flops", "loss", "arm", "seed", "run_id", "name",
    "status", "choices", '{"lr": 1}', "x" * 5000,
)  # fmt: skip
_BRACKETS = (("[", "]"), ("(", ")"), ('{"a":', "}"), ("{a=", "}"), ("-", ""), ("a.", ""))
_TOKEN = re.compile(r'"[^"\n]*"|[A-Za-z_][\w.-]*|[-+]?\d[\d_.eE+-]*|[^\sA-Za-z0-9]')


def word(rng: Random) -> str:
    """A hostile string, a number, or a few random characters."""
    pick = rng.random()
    if pick < 0.6:
        return rng.choice(HOSTILE)
    if pick < 0.8:
        return repr(number(rng))
    limit = rng.choice((0x7F, 0xFF, 0xD7FF, 0x10FFFF))
    drawn = (rng.randrange(limit) for _ in range(rng.randrange(1, 12)))
    return "".join(chr(c) for c in drawn if not 0xD800 <= c < 0xE000)


def number(rng: Random) -> int | float:
    """A number near some border: zero, one, a power of two or ten, the ends of a type."""
    pick = rng.random()
    if pick < 0.3:
        return rng.choice((0, 1, -1, 2, 3, 255, 256, 65536, 2**31 - 1, 2**31, 2**53, 2**63 - 1, 2**64, -(2**63)))
    if pick < 0.6:
        return rng.choice((1, -1)) * 10.0 ** rng.randrange(-320, 309)
    if pick < 0.7:
        return rng.choice((float("nan"), float("inf"), float("-inf"), -0.0))
    return rng.choice((rng.randrange(-5, 100), rng.random(), rng.gauss(0, 1e3)))


def text(rng: Random, seed: str, other: str = "") -> str:
    """`seed` with one to four faults in its words, lines and characters; `other` lends its own."""
    if rng.random() < 0.01:
        return _deep(rng, seed, other)
    for _ in range(rng.choice((1, 1, 1, 2, 3, 4))):
        seed = rng.choice((_words, _words, _words, _numbers, _lines, _lines, _characters, _cut))(rng, seed, other)
    return seed


def _words(rng: Random, seed: str, other: str) -> str:
    found = list(_TOKEN.finditer(seed))
    if not found:
        return word(rng)
    at = rng.choice(found)
    lent = _TOKEN.findall(other) if other and rng.random() < 0.3 else None
    new = rng.choice(lent) if lent else rng.choice(found)[0] if rng.random() < 0.3 else word(rng)
    if at[0][:1] == '"' and new[:1] != '"' and rng.random() < 0.7:
        new = json.dumps(new, ensure_ascii=rng.random() < 0.5)
    return seed[: at.start()] + new + seed[at.end() :]


def _numbers(rng: Random, seed: str, _: str) -> str:
    found = list(re.finditer(r"\d[\d.eE+]*", seed))
    if not found:
        return _words(rng, seed, "")
    at = rng.choice(found)
    return seed[: at.start()] + repr(number(rng)) + seed[at.end() :]


def _lines(rng: Random, seed: str, other: str) -> str:
    lines = seed.split("\n")
    at, to = rng.randrange(len(lines)), rng.randrange(len(lines))
    pick = rng.randrange(5)
    if pick == 0:
        del lines[min(at, to) : max(at, to) + 1]
    elif pick == 1:
        lines[at], lines[to] = lines[to], lines[at]
    elif pick == 2:
        lines.insert(to, lines[at])
    elif pick == 3:
        lines.insert(at, rng.choice(other.split("\n")) if other else word(rng))
    else:
        lines = lines[:at] + lines[at : at + 1] * rng.choice((2, 10, 200)) + lines[at + 1 :]
    return "\n".join(lines)


def _characters(rng: Random, seed: str, _: str) -> str:
    at = rng.randrange(len(seed) + 1)
    return seed[:at] + word(rng) + seed[at + rng.choice((0, 0, 1, 3)) :]


def _deep(rng: Random, seed: str, _: str) -> str:
    at, levels, (left, right) = rng.randrange(len(seed) + 1), rng.choice((70, 500, 20_000)), rng.choice(_BRACKETS)
    return seed[:at] + left * levels + word(rng) + right * levels + seed[at:]


def _cut(rng: Random, seed: str, _: str) -> str:
    return seed[: rng.randrange(len(seed) + 1)]


def raw(rng: Random, seed: bytes) -> bytes:
    """`seed` with one to four faults in its bits, bytes and blocks: flipped, zeroed, cut, doubled, overwritten."""
    data = bytearray(seed)
    for _ in range(rng.choice((1, 1, 2, 4))):
        if not data:
            break
        at, length = rng.randrange(len(data)), rng.choice((1, 2, 4, 8, 64, 512))
        pick = rng.randrange(8)
        if pick <= 1:
            data[at] ^= 1 << rng.randrange(8)
        elif pick == 2:
            data[at : at + length] = bytes(min(length, len(data) - at))
        elif pick == 3:
            del data[at:]
        elif pick == 4:
            del data[at : at + length]
        elif pick == 5:
            data[at:at] = data[at : at + length]
        elif pick == 6:
            data[at : at + length] = rng.randbytes(min(length, len(data) - at))
        else:  # the lengths and offsets of binary formats
            value = rng.choice((0, 1, 0x7F, 0xFF, 2**15, 2**31 - 1, 2**32 - 1)).to_bytes(
                4, rng.choice(("little", "big"))
            )
            data[at : at + 4] = value
    return bytes(data)


def tree(rng: Random, value: Any) -> Any:
    """A copy of `value` (dicts, lists, plain values) with one to three faults in its keys and values."""
    value = json.loads(json.dumps(value))
    for _ in range(rng.choice((1, 1, 2, 3))):
        places = [((), None), *_places(value)]
        parent, key = rng.choice(places)
        if key is None:
            continue
        holder = value
        for part in parent:
            holder = holder[part]
        pick = rng.randrange(6)
        if pick == 0:
            del holder[key]
        elif pick == 1 and isinstance(holder, dict):
            holder[word(rng)] = holder.pop(key)
        elif pick == 2 and isinstance(holder, list):
            holder.extend([holder[key]] * rng.choice((1, 2, 50)))
        else:
            holder[key] = _leaf(rng, value)
    return value


def _places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[tuple[Any, ...], Any]]:
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    found = []
    for key, held in inner:
        found.append((path, key))
        found += _places(held, (*path, key))
    return found


def _leaf(rng: Random, whole: Any) -> Any:
    pick = rng.randrange(8)
    if pick <= 1:
        return number(rng)
    if pick == 2:
        return rng.choice((None, True, False, [], {}, [[]], {"": {}}))
    if pick == 3:  # a part of the whole in the wrong place
        places = _places(whole)
        if places:
            path, key = rng.choice(places)
            for part in path:
                whole = whole[part]
            return json.loads(json.dumps(whole[key]))
    if pick == 4:
        nested: Any = word(rng)
        for _ in range(rng.choice((1, 3, 60))):
            nested = [nested] if rng.random() < 0.5 else {"a": nested}
        return nested
    return word(rng)


def toml(value: dict[str, Any]) -> str:
    """`value` as TOML, everything below its first level inline; nulls, which TOML lacks, as text."""
    return "".join(f"{json.dumps(k)} = {_inline(v)}\n" for k, v in value.items())


def _inline(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(k)} = {_inline(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_inline, value)) + "]"
    if isinstance(value, float):
        return repr(value)
    return json.dumps("null" if value is None else value)


def table(rng: Random, frame: pl.DataFrame) -> pl.DataFrame:
    """`frame` with one to four faults in its cells, columns, rows and types."""
    for _ in range(rng.choice((1, 1, 2, 4))):
        if not frame.width or not frame.height:
            break
        column, row = rng.choice(frame.columns), rng.randrange(frame.height)
        pick = rng.randrange(9)
        if pick <= 2:
            values: list[Any] = frame[column].to_list()
            values[row] = rng.choice((None, number(rng), word(rng)))
            frame = frame.with_columns(_column(column, values))
        elif pick == 3:
            frame = frame.drop(column)
        elif pick == 4:
            new = rng.choice((word(rng), rng.choice(frame.columns) + rng.choice((" ", "_", "")), column.upper()))
            if new not in frame.columns:
                frame = frame.rename({column: new})
        elif pick == 5:
            frame = pl.concat([frame, frame[row : row + rng.choice((1, 3, 30))]])
        elif pick == 6:
            frame = frame[:row]
        elif pick == 7:
            frame = frame.with_columns(_column(column, [rng.choice((number(rng), word(rng)))] * frame.height))
        else:
            frame = frame.with_columns(pl.Series(column, _odd(rng, frame[column]), strict=False))
    return frame


def _column(name: str, values: list[Any]) -> pl.Series:
    numbers = all(v is None or isinstance(v, (int, float)) for v in values)
    if numbers and all(v is None or abs(v) < 2**63 for v in values):
        return pl.Series(name, [None if v is None else float(v) for v in values])
    return pl.Series(name, [None if v is None else str(v) for v in values], dtype=pl.String)


def _odd(rng: Random, values: pl.Series) -> pl.Series:
    """A column in a type that no run table has."""
    texts = pl.Series([None if v is None else str(v) for v in values], dtype=pl.String)
    odd = (
        lambda: texts.cast(pl.Categorical),
        lambda: texts.cast(pl.Binary),
        lambda: pl.Series([[v] for v in values], dtype=pl.List(values.dtype)),
        lambda: values.to_frame("a").to_struct(""),
        lambda: pl.repeat(None, len(values), eager=True),
        lambda: pl.repeat(True, len(values), eager=True),
        lambda: pl.Series([10**i for i in range(len(values))][: len(values)], dtype=pl.UInt64, strict=False),
        lambda: pl.int_range(len(values), eager=True).cast(pl.Datetime("us")),
        lambda: pl.int_range(len(values), eager=True).cast(pl.Duration("ms")),
    )
    return rng.choice(odd)()
