"""Rows of an SQLite file read straight from its pages, whatever else of the file is lost.

SQLite itself gives up on a file whose first page or a page high in a tree is damaged. Every leaf page of a table holds
whole rows, so each page of the file is looked at on its own, with the pages of a write-ahead log laid over it. What is
read may be nonsense: whoever uses it checks it. Format: https://www.sqlite.org/fileformat2.html.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

Row = list[Any]
_LEAF, _INDEX_LEAF = 0x0D, 0x0A
_SIZES = tuple(2**k for k in range(9, 17))
#: Bytes of the largest row that is put together from overflow pages.
_LONGEST = 256 << 20


class Pages:
    """The pages of a file, those of its write-ahead log in place of older ones."""

    def __init__(self, path: Path) -> None:
        """Read the file at `path` and the log beside it. Raises `OSError`."""
        self._data = path.read_bytes()
        log = path.with_name(path.name + "-wal")
        self._log = log.read_bytes() if log.exists() else b""
        stated = int.from_bytes(self._data[16:18], "big") if len(self._data) >= 18 else 0
        # a ledger's pages are of SQLite's default size; a header that says otherwise may be right
        self.size = {1: 65536}.get(stated, stated) if stated in (1, *_SIZES) else 4096
        self._usable = self.size - (self._data[20] if len(self._data) > 20 and self._data[20] <= 64 else 0)
        self._newer = dict(self._logged())

    def rows(self) -> Iterator[Row]:
        """The rows of all tables, page by page, as lists of values; a cell that can't be read is passed over."""
        for number, page in self._all():
            yield from self._cells(number, page, _LEAF)

    def index_rows(self) -> Iterator[Row]:
        """The rows of all indexes that fit on their page: key columns, then the row's number."""
        for number, page in self._all():
            yield from self._cells(number, page, _INDEX_LEAF)

    def _all(self) -> Iterator[tuple[int, bytes]]:
        last = max(len(self._data) // self.size + (len(self._data) % self.size > 0), *self._newer, 0)
        for number in range(1, last + 1):
            yield number, self._page(number)

    def _page(self, number: int) -> bytes:
        return self._newer.get(number) or self._data[(number - 1) * self.size : number * self.size]

    def _logged(self) -> Iterator[tuple[int, bytes]]:
        """Pages of the log's committed frames, later ones last."""
        if len(self._log) < 32 or struct.unpack_from(">I", self._log, 8)[0] != self.size:
            return
        salts, frame, waiting = self._log[16:24], 24 + self.size, []
        for at in range(32, len(self._log) - frame + 1, frame):
            number, commit = struct.unpack_from(">II", self._log, at)
            if self._log[at + 8 : at + 16] != salts or not 0 < number < 2**31 - 1:
                return
            waiting.append((number, self._log[at + 24 : at + frame]))
            if commit:
                yield from waiting
                waiting = []

    def _cells(self, number: int, page: bytes, kind: int) -> Iterator[Row]:
        start = 100 if number == 1 else 0
        if len(page) < start + 8 or page[start] != kind:
            return
        count = int.from_bytes(page[start + 3 : start + 5], "big")
        for i in range(min(count, self.size // 4)):
            at = start + 8 + 2 * i
            cell = int.from_bytes(page[at : at + 2], "big")
            try:
                yield _record(self._payload(page, cell, kind))
            except (IndexError, ValueError, struct.error):
                continue

    def _payload(self, page: bytes, at: int, kind: int) -> bytes:
        length, at = _varint(page, at)
        if kind == _LEAF:
            _, at = _varint(page, at)  # the row's number
        if not 0 < length <= _LONGEST:
            raise ValueError("no row is so long")
        usable = self._usable
        most = usable - 35 if kind == _LEAF else (usable - 12) * 64 // 255 - 23
        if length <= most:
            return _whole(page[at : at + length], length)
        least = (usable - 12) * 32 // 255 - 23
        here = least + (length - least) % (usable - 4)
        here = here if here <= most else least
        found, following = bytearray(page[at : at + here]), int.from_bytes(page[at + here : at + here + 4], "big")
        while len(found) < length and following:
            more = self._page(following)
            before = len(found)
            found += more[4 : min(usable, 4 + length - len(found))]
            following = int.from_bytes(more[:4], "big")
            if len(found) == before:
                break
        return _whole(bytes(found), length)


def _whole(data: bytes, length: int) -> bytes:
    if len(data) != length:
        raise ValueError("the row is cut short")
    return data


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = 0
    for i in range(8):
        value = value << 7 | data[at + i] & 0x7F
        if data[at + i] < 0x80:
            return value, at + i + 1
    return value << 8 | data[at + 8], at + 9


def _record(payload: bytes) -> Row:
    header, at = _varint(payload, 0)
    if header > len(payload):
        raise ValueError("the row has no header")
    kinds = []
    while at < header:
        kind, at = _varint(payload, at)
        kinds.append(kind)
    at, row = header, list[Any]()
    for kind in kinds:
        value, at = _value(payload, at, kind)
        row.append(value)
    return row


_INTEGERS: Mapping[int, int] = {1: 1, 2: 2, 3: 3, 4: 4, 5: 6, 6: 8}


def _value(payload: bytes, at: int, kind: int) -> tuple[Any, int]:
    if kind == 0:
        return None, at
    if kind in _INTEGERS:
        size = _INTEGERS[kind]
        return int.from_bytes(_whole(payload[at : at + size], size), "big", signed=True), at + size
    if kind == 7:
        return struct.unpack_from(">d", payload, at)[0], at + 8
    if kind in (8, 9):
        return kind - 8, at
    if kind < 12:
        raise ValueError("no kind of value")
    size = (kind - 12) // 2
    data = _whole(payload[at : at + size], size)
    return (data if kind % 2 == 0 else data.decode("utf-8")), at + size
