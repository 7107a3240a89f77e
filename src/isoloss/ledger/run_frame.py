"""The run table out of the database, a column at a time: a million runs take seconds."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import polars as pl
from sqlalchemy import Connection, Select, func, select

from isoloss.ledger import schema
from isoloss.ledger.digest import canonical_json
from isoloss.ledger.status import ENDED
from isoloss.ledger.table import SCHEMA
from isoloss.runs import RESOURCES, RunSpec

_MEMBER = {name: SCHEMA[name] for name in ("run_id", "arm", "round", "rung", "purpose", "status")}
_RUN = dict.fromkeys(("run_id", "spec", "qualities", "resources"), pl.String())
_QUALITIES = ("validation", "test")
_KIND = {**dict.fromkeys(("shared", "algorithm", "task", "choices"), pl.String()), "whole": pl.Boolean()}
# JSON has no such numbers: Python writes and reads them, nobody else does
_ODD = "Infinity|NaN"
#: A study with at least this share of a ledger's runs is read faster by going through them all.
_MOST = 0.25


def run_frame(db: Connection, study_id: str, name: str, purpose: str | None = None) -> pl.DataFrame:
    """The run table (`isoloss.ledger.table`) of a study's ended runs, in the study's own order; of one `purpose` only
    where that is given."""
    r, m = schema.runs, schema.members
    mine = [m.c.study_id == study_id, m.c.status.in_(ENDED), *([] if purpose is None else [m.c.purpose == purpose])]
    held = _fetch(db, select(*(m.c[column] for column in _MEMBER), m.c.position).where(*mine))
    members = pl.DataFrame(held, schema={**_MEMBER, "position": pl.Int64()}, orient="row")
    asked = select(*(r.c[column] for column in _RUN))
    if members.height < _MOST * (db.scalar(select(func.count(r.c.run_id))) or 0):
        asked = asked.where(r.c.run_id.in_(select(m.c.run_id).where(*mine)))
    runs = pl.DataFrame(_fetch(db, asked), schema=_RUN, orient="row")
    raw = members.join(runs, on="run_id", maintain_order="none").sort("position", "arm")
    raw = raw.with_columns(pl.col("qualities", "resources").fill_null("{}"))
    told = pl.concat([_of_specs(raw["spec"], raw["run_id"]), _of_results(raw)], how="horizontal")
    return raw.with_columns(told, study=pl.lit(name)).select(list(SCHEMA)).cast(SCHEMA)  # type: ignore[arg-type]


def _fetch(db: Connection, asked: Select[Any]) -> Sequence[Any]:
    # the driver's own tuples: a million rows need no other wrapping
    return db.execute(asked).cursor.fetchall()


def _of_specs(specs: pl.Series, run_ids: pl.Series) -> pl.DataFrame:
    # specs of a study differ in little but their seed: each that is left without it is read once
    seeds = specs.str.extract(r',"seed":(\d+),"step_rule":').cast(pl.Int64)
    shared = specs.str.replace(r',"seed":\d+,"step_rule":', ',"step_rule":')
    kinds = [_kind(text) for text in shared.unique(maintain_order=True).to_list()]
    known = pl.DataFrame(kinds, schema=_KIND, orient="row")
    found = pl.DataFrame({"shared": shared, "seed": seeds, "cluster": run_ids}).join(
        known, on="shared", how="left", maintain_order="left"
    )
    # branches of one trunk are resampled together; and a spec in which something else looks like its seed
    rows = {}
    for at in (found["whole"] | found["seed"].is_null()).arg_true().to_list():
        spec = json.loads(specs[at])
        own = {"algorithm": spec["algorithm"], "task": spec["task"], "seed": spec["seed"]}
        cluster = RunSpec.from_dict(spec).trunk_id or run_ids[at]
        rows[at] = {**own, "choices": canonical_json(spec["choices"]), "cluster": cluster}
    return _put(found.select("algorithm", "task", "seed", "choices", "cluster"), rows)


def _kind(text: str) -> tuple[str, str, str, str, bool]:
    spec = json.loads(text)
    whole = "seed" in spec or spec["choices"].get("trunk_warmup") is not None
    return text, spec["algorithm"], spec["task"], canonical_json(spec["choices"]), whole


def _of_results(raw: pl.DataFrame) -> pl.DataFrame:
    odd = raw["qualities"].str.contains(_ODD) | raw["resources"].str.contains(_ODD)
    # an amount is [value, how]
    amounts = raw["resources"].str.replace_all(r'\[([^,\[\]]+),"[a-z]+"\]', "$1")
    parts: dict[str, pl.Series] = {}
    for texts, names in ((raw["qualities"], _QUALITIES), (amounts, tuple(RESOURCES))):
        plain = pl.select(pl.when(~odd).then(texts)).to_series()
        decoded = plain.str.json_decode(pl.Struct(dict.fromkeys(names, pl.Float64()))).struct.unnest()
        parts |= {column: decoded[column] for column in names}
    rows = {}
    for at in odd.arg_true().to_list():
        qualities, resources = json.loads(raw["qualities"][at]), json.loads(raw["resources"][at])
        amount = {column: resources.get(column, [None])[0] for column in RESOURCES}
        rows[at] = {**{column: qualities.get(column) for column in _QUALITIES}, **amount}
    return _put(pl.DataFrame(parts), rows)


def _put(frame: pl.DataFrame, rows: dict[int, dict[str, Any]]) -> pl.DataFrame:
    """`frame` with those rows in place of its own."""
    if not rows:
        return frame
    new = pl.DataFrame(list(rows.values()), schema=frame.schema).with_columns(pl.Series("_at", list(rows)))
    kept = frame.with_columns(pl.int_range(frame.height, dtype=pl.Int64).alias("_at"))
    return kept.update(new, on="_at", include_nulls=True).drop("_at")
