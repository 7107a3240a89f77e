"""Columns of a million rows out of the database, as text: the database joins the rows of a piece into one text a
column, so that no row becomes a Python object, and the next piece is read while this one is worked on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import polars as pl
from sqlalchemy import ColumnElement, Connection, Select, Table, func, literal_column, select

#: Rows in one piece of a table; SQLite holds a text of at most 10^9 bytes.
PIECE = 50_000
_END = "\n"


def scanned(
    db: Connection, table: Table, asked: Mapping[str, ColumnElement[Any]], *where: ColumnElement[bool]
) -> Iterator[pl.DataFrame]:
    """The columns `asked` of the rows of `table` that meet `where`, a frame of strings for each piece, in any order.

    The whole table is gone through: fit for most of its rows. At least one piece comes, if an empty one. Lines are
    told apart by line feeds, so no column may hold one, nor a null. Raises `ValueError` where one does.
    """
    lines: list[Any] = [func.aggregate_strings(column, _END) for column in asked.values()]
    yield pl.DataFrame(schema=dict.fromkeys(asked, pl.String()))
    wanted: Select[Any] = select(func.count(), *lines).select_from(table).where(*where)
    for count, *texts in _ahead(_rows(db, table, wanted)):
        if count:
            yield _lines(dict(zip(asked, texts, strict=True)), count)


def _rows(db: Connection, table: Table, wanted: Select[Any]) -> Iterator[tuple[Any, ...]]:
    if db.dialect.name != "sqlite":
        yield from db.execute(wanted.group_by(func.left(table.c.run_id, 2))).cursor.fetchall()
        return
    # in the order in which they lie in the file
    row: ColumnElement[int] = literal_column(f"{table.name}.rowid")
    at = db.scalar(select(func.min(row)).select_from(table))
    while at is not None:
        after = db.scalar(select(row).select_from(table).where(row >= at).order_by(row).offset(PIECE).limit(1))
        here = wanted.where(row >= at)
        yield from db.execute(here if after is None else here.where(row < after)).cursor.fetchall()
        at = after


def _ahead(rows: Iterator[tuple[Any, ...]]) -> Iterator[tuple[Any, ...]]:
    with ThreadPoolExecutor(1) as reader:
        coming = reader.submit(next, rows, None)
        while (row := coming.result()) is not None:
            coming = reader.submit(next, rows, None)
            yield row


def _lines(texts: Mapping[str, str], count: int) -> pl.DataFrame:
    parts = {name: pl.Series([text]).str.split(_END).explode() for name, text in texts.items()}
    for name, part in parts.items():
        if len(part) != count:
            raise ValueError(f"{name}: {len(part)} lines for {count} rows")
    return pl.DataFrame(parts)
