"""A written result read back: ``result.json`` as the values it was made from."""

from __future__ import annotations

import dataclasses
import functools
import json
import math
import types
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from isoloss.errors import StudyError
from isoloss.gains.analysis import StudyResult
from isoloss.gains.portable import Portable

RESULT = "result.json"
_REMEDY = "rebuild it with isoloss report STUDY"


def read_result(path: Path) -> StudyResult:
    """The result in the file `path`, or in the report folder `path`. Raises `StudyError` naming the field at fault."""
    file = path / RESULT if path.is_dir() else path
    try:
        held = json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise StudyError(
            file, f"can't be read ({error.strerror})", "give a study file, a report folder or its result.json"
        ) from error
    except ValueError as error:
        raise StudyError(file, f"is not JSON ({error})", _REMEDY) from error
    try:
        result: StudyResult = _value(StudyResult, held, "result")
    except _Unfit as fault:
        raise StudyError(file, f"{fault} is not what a result holds", _REMEDY) from None
    return result


class _Unfit(Exception):
    """A field whose value does not have its type."""


def _value(kind: Any, held: Any, where: str) -> Any:
    """`held` as `kind`, undoing `to_json`: lists become tuples, ``"inf"`` infinity, null NaN where a number belongs."""
    if kind is Any:
        return held
    if dataclasses.is_dataclass(kind):
        return _record(kind, held, where)
    origin, of = get_origin(kind), get_args(kind)
    if origin in (Union, types.UnionType):
        return None if held is None else _value(next(k for k in of if k is not type(None)), held, where)
    if kind is float:
        return _number(held, where)
    if origin is tuple and isinstance(held, list):
        kinds = [of[0]] * len(held) if of[-1] is Ellipsis else of
        if len(kinds) == len(held):
            return tuple(_value(k, v, f"{where}[{i}]") for i, (k, v) in enumerate(zip(kinds, held, strict=True)))
    elif origin is list and isinstance(held, list):
        return [_value(of[0], v, f"{where}[{i}]") for i, v in enumerate(held)]
    elif origin is dict and isinstance(held, dict):
        return {k: _value(of[1], v, f"{where}.{k}") for k, v in held.items()}
    elif (origin is Literal and isinstance(held, str)) or (isinstance(kind, type) and isinstance(held, kind)):
        return held
    raise _Unfit(where)


def _record(kind: Any, held: Any, where: str) -> Any:
    if not isinstance(held, dict):
        raise _Unfit(where)
    hints = _hints(kind)
    given = {}
    for f in dataclasses.fields(kind):
        if f.name in held:
            given[f.name] = _value(hints[f.name], held[f.name], f"{where}.{f.name}")
        elif f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING:
            raise _Unfit(f"{where}.{f.name}, which is missing,")
    return kind(**given)


@functools.cache
def _hints(kind: Any) -> dict[str, Any]:
    return get_type_hints(kind, localns={"Portable": Portable})  # which its module names for type checkers only


def _number(held: Any, where: str) -> float:
    if held is None:
        return math.nan
    if held in ("inf", "-inf"):
        return float(held)
    if isinstance(held, bool) or not isinstance(held, int | float):
        raise _Unfit(where)
    return float(held)
