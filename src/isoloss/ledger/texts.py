"""Columns of a million rows out of the database, as text: the database joins the rows of a piece into one text a
column, so that no row becomes a Python object, and further pieces are read while one is worked on."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import polars as pl
from sqlalchemy import ColumnElement, Connection, Select, Table, func, literal_column, select

#: Rows in one piece of a table: few enough that its texts lie in memory that the last piece had, since new memory costs
#: more than the reading does; and SQLite holds a text of at most 10^9 bytes.
PIECE = 10_000
#: Pieces that are read before they are asked for.
_AHEAD = 4
_END = "\n"


@dataclass(frozen=True)
class Piece:
    """Some rows of a table: how many, and of each column all values in one text, a line each."""

    of: Table
    count: int
    texts: Mapping[str, str]

    def frame(self) -> pl.DataFrame:
        """The rows, as strings. Raises `ValueError` where a value held a line feed or was null."""
        parts = {name: pl.Series([text]).str.split(_END).explode() for name, text in self.texts.items()}
        for name, part in parts.items():
            if len(part) != self.count:
                raise ValueError(f"{name}: {len(part)} lines for {self.count} rows")
        return pl.DataFrame(parts)


def scanned(
    db: Connection, table: Table, asked: Mapping[str, ColumnElement[Any]], *where: ColumnElement[bool]
) -> Iterator[Piece]:
    """The columns `asked` of the rows of `table` that meet `where`, in any order.

    The whole table is gone through: fit for most of its rows. No column may hold a line feed, nor a null.
    """
    lines: list[Any] = [func.aggregate_strings(column, _END) for column in asked.values()]
    wanted: Select[Any] = select(func.count(), *lines).select_from(table).where(*where)
    for count, *texts in _rows(db, table, wanted):
        if count:
            yield Piece(table, count, dict(zip(asked, texts, strict=True)))


def ahead(pieces: Iterator[Piece]) -> Iterator[Piece]:
    """`pieces`, read by a thread of its own before they are asked for; nobody else may use its connection meanwhile."""
    reader = ThreadPoolExecutor(1)
    try:
        coming = deque(reader.submit(next, pieces, None) for _ in range(_AHEAD))
        while (piece := coming.popleft().result()) is not None:
            coming.append(reader.submit(next, pieces, None))
            yield piece
    finally:
        reader.shutdown(cancel_futures=True)


def size(db: Connection, table: Table) -> int:
    """About how many rows `table` has: of SQLite the highest row's number, since a count goes through all."""
    row: ColumnElement[int] = literal_column(f"{table.name}.rowid")
    most = func.max(row) if db.dialect.name == "sqlite" else func.count()
    return int(db.scalar(select(most).select_from(table)) or 0)


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
