"""The run table out of the database, a piece at a time: a million runs take seconds."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray
from sqlalchemy import (
    ColumnElement,
    Connection,
    Select,
    String,
    and_,
    case,
    cast,
    func,
    literal,
    literal_column,
    select,
)

from isoloss.ledger import schema
from isoloss.ledger.digest import canonical_json
from isoloss.ledger.status import ENDED
from isoloss.ledger.table import SCHEMA
from isoloss.ledger.texts import ahead, scanned, size
from isoloss.runs import RESOURCES, RunSpec

_CELL = ("arm", "round", "rung", "purpose", "status")
_MEMBER = {"run_id": pl.String(), "position": pl.Int64(), **{name: SCHEMA[name] for name in _CELL}}
_QUALITIES = ("validation", "test")
_KIND = {**dict.fromkeys(("algorithm", "task", "choices"), pl.String()), "whole": pl.Boolean()}
# what follows the seed of a spec, as `canonical_json` writes it
_AFTER_SEED = ',"step_rule":'
# JSON has no such numbers: Python writes and reads them, nobody else does
_ODD = "Infinity|NaN"
#: A study with at least this share of a ledger's members is read faster by going through the tables.
_MOST = 0.25
#: Cells that one statement can tell apart: a study has dozens.
_CELLS = 1000


def run_frame(db: Connection, study_id: str, name: str, purpose: str | None = None) -> pl.DataFrame:
    """The run table (`isoloss.ledger.table`) of a study's ended runs, in the study's own order; of one `purpose` only
    where that is given."""
    m = schema.members
    mine = m.c.study_id == study_id
    beyond = select(m.c.study_id).where(mine).offset(int(_MOST * size(db, m))).limit(1)
    most = db.scalar(beyond) is not None
    if most and db.dialect.name == "sqlite":
        mine = literal_column("+members.study_id", String) == study_id  # the plus keeps SQLite from an index
    mine = and_(mine, m.c.status.in_(ENDED), *([] if purpose is None else [m.c.purpose == purpose]))
    held, told = _scanned(db, mine) if most else _looked_up(db, mine)
    # read in the order in which they were written, each is mostly beside its own already
    if held["run_id"].equals(told["run_id"]):
        table = _ordered(held.hstack(told.drop("run_id")))
    else:
        table = _ordered(held).join(told, on="run_id", maintain_order="left")
    rest = {"study": pl.lit(name), **{c: pl.lit(None, dtype=kind) for c, kind in SCHEMA.items() if c != "study"}}
    table = table.with_columns(**{column: value for column, value in rest.items() if column not in table.columns})
    return table.select(list(SCHEMA)).cast(SCHEMA)  # type: ignore[arg-type]


def _ordered(members: pl.DataFrame) -> pl.DataFrame:
    # by place, then by arm: as one whole number, which is sorted in a fraction of the time
    arms = members["arm"].unique().sort()
    rank = members["arm"].cast(pl.Enum(arms)).to_physical().cast(pl.Int64)
    return members[(members["position"] * len(arms) + rank).arg_sort()]


def _looked_up(db: Connection, mine: ColumnElement[bool]) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Members, and what their runs say, by the indexes."""
    m, asked = schema.members, _asked()
    runs = select(*asked.values()).where(schema.runs.c.run_id.in_(select(m.c.run_id).where(mine)))
    held = select(*(m.c[name] for name in _MEMBER)).where(mine)
    return _frame(db, held, _MEMBER), _told(_frame(db, runs, dict.fromkeys(asked, pl.String())))


def _scanned(db: Connection, mine: ColumnElement[bool]) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The same of most members of a ledger: both tables are gone through."""
    m, r = schema.members, schema.runs
    cells = _Cells(db.execute(select(*(m.c[name] for name in _CELL)).where(mine).distinct().limit(_CELLS)).all())
    asked = {"run_id": m.c.run_id, "position": cast(m.c.position, String), "cell": cast(cells.number, String)}
    told, members = [], [pl.DataFrame(schema={"run_id": pl.String(), "position": pl.Int64(), "cell": pl.Int64()})]
    # runs first: while the last of them are worked on, the members are read
    pieces = scanned(db, r, _asked())
    for piece in ahead(pieces if cells.many else chain(pieces, scanned(db, m, asked, mine))):
        if piece.of is r:
            told.append(_told(piece.frame()))
        else:
            members.append(piece.frame().with_columns(pl.col("position", "cell").cast(pl.Int64)))
    if cells.many:
        held = _frame(db, select(*(m.c[name] for name in _MEMBER)).where(mine), _MEMBER)
    else:
        held = pl.concat(members).join(cells.named, on="cell", maintain_order="none")
    return held, pl.concat(told, how="diagonal")


def _asked() -> dict[str, ColumnElement[Any]]:
    r = schema.runs
    results = {name: func.coalesce(r.c[name], "{}").label(name) for name in ("qualities", "resources")}
    return {"run_id": r.c.run_id, "spec": r.c.spec, **results}


class _Cells:
    """Many members are of one arm, rung and so on: what these are is read once, and of each member a number for them.

    `number` tells it in SQL, `named` has the columns of each; `many` says that they are too many for a statement.
    """

    def __init__(self, cells: Sequence[Any]) -> None:
        self.many = len(cells) == _CELLS
        self.number: ColumnElement[int] = literal(0)
        known = pl.Series([0] * len(cells), dtype=pl.Int64)
        for name, values in zip(_CELL, zip(*cells, strict=True), strict=False):
            code = {value: k for k, value in enumerate(dict.fromkeys(values))}
            if len(code) > 1:
                self.number = self.number * len(code) + case(code, value=schema.members.c[name])
                known = known * len(code) + pl.Series([code[value] for value in values])
        self.named = pl.DataFrame(cells, schema={name: _MEMBER[name] for name in _CELL}, orient="row")
        self.named = self.named.with_columns(cell=known)


def _frame(db: Connection, asked: Select[Any], columns: Mapping[str, pl.DataType]) -> pl.DataFrame:
    # the driver's own tuples: rows need no other wrapping
    return pl.DataFrame(db.execute(asked).cursor.fetchall(), schema=dict(columns), orient="row")


def _told(raw: pl.DataFrame) -> pl.DataFrame:
    told = [_of_specs(raw["spec"], raw["run_id"]), _of_results(raw)]
    return pl.concat([raw.select("run_id"), *told], how="horizontal")


def _of_specs(specs: pl.Series, run_ids: pl.Series) -> pl.DataFrame:
    # specs of a study differ in little but their seed: each that is left without it is read once
    around = specs.str.splitn(',"seed":', 2).struct.unnest()
    after = around["field_1"].str.splitn(_AFTER_SEED, 2).struct.unnest()
    first, kind = _alike(around["field_0"], after["field_1"])
    kinds = [_kind(around["field_0"][at], after["field_1"][at]) for at in first]
    found = pl.DataFrame(kinds, schema=_KIND, orient="row")[kind]
    found = found.with_columns(seed=after["field_0"].cast(pl.Int64, strict=False), cluster=run_ids)
    # branches of one trunk are resampled together; and a spec in which something else looks like its seed
    rows = {}
    for at in (found["whole"] | found["seed"].is_null()).arg_true().to_list():
        spec = json.loads(specs[at])
        own = {"algorithm": spec["algorithm"], "task": spec["task"], "seed": spec["seed"]}
        cluster = RunSpec.from_dict(spec).trunk_id or run_ids[at]
        rows[at] = {**own, "choices": canonical_json(spec["choices"]), "cluster": cluster}
    return _put(found.select("algorithm", "task", "seed", "choices", "cluster"), rows)


def _alike(*texts: pl.Series) -> tuple[list[int], NDArray[np.int64]]:
    """Of the different rows of `texts`, where each is first; and of every row, which of them it is."""
    number = np.zeros(len(texts[0]), dtype=np.int64)
    for text in texts:
        filled = text.fill_null("")
        part = filled.cast(pl.Enum(filled.unique())).to_physical()
        number = number * (len(text) + 1) + part.to_numpy()
    _, first, which = np.unique(number, return_index=True, return_inverse=True)
    return first.tolist(), which


def _kind(before: str, after: str | None) -> tuple[str | None, str | None, str | None, bool]:
    try:
        spec = json.loads(f"{before}{_AFTER_SEED}{after}")
        whole = "seed" in spec or spec["choices"].get("trunk_warmup") is not None
        return spec["algorithm"], spec["task"], canonical_json(spec["choices"]), whole
    except (ValueError, KeyError):
        return None, None, None, True


def _of_results(raw: pl.DataFrame) -> pl.DataFrame:
    odd = raw["qualities"].str.contains(_ODD) | raw["resources"].str.contains(_ODD)
    qualities, resources = raw["qualities"], raw["resources"]
    if odd.any():
        qualities, resources = pl.select(pl.when(~odd).then(text) for text in (qualities, resources)).get_columns()
    # amounts that are counted repeat from run to run; each is [value, how]
    first, which = _alike(resources)
    once = resources[first].str.replace_all(r'\[([^,\[\]]+),"[a-z]+"\]', "$1")
    parts = _decoded(qualities, _QUALITIES).hstack(_decoded(once, tuple(RESOURCES))[which])
    rows = {}
    for at in odd.arg_true().to_list():
        quality, amounts = json.loads(raw["qualities"][at]), json.loads(raw["resources"][at])
        amount = {column: amounts.get(column, [None])[0] for column in RESOURCES}
        rows[at] = {**{column: quality.get(column) for column in _QUALITIES}, **amount}
    whole = _put(parts, rows)
    return whole.select(column.name for column in whole if column.null_count() < len(column))


def _decoded(texts: pl.Series, names: tuple[str, ...]) -> pl.DataFrame:
    return texts.str.json_decode(pl.Struct(dict.fromkeys(names, pl.Float64()))).struct.unnest()


def _put(frame: pl.DataFrame, rows: dict[int, dict[str, Any]]) -> pl.DataFrame:
    """`frame` with those rows in place of its own."""
    if not rows:
        return frame
    new = pl.DataFrame(list(rows.values()), schema=frame.schema).with_columns(pl.Series("_at", list(rows)))
    kept = frame.with_columns(pl.int_range(frame.height, dtype=pl.Int64).alias("_at"))
    return kept.update(new, on="_at", include_nulls=True).drop("_at")
