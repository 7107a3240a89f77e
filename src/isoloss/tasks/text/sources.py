"""Documents out of files: plain text, JSON lines, Parquet, or a folder of these. Whatever is no text is refused."""

from __future__ import annotations

import codecs
import fnmatch
import json
import os
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from isoloss.errors import StudyError
from isoloss.tasks.text.blocks import Document

JSON_LINES = (".jsonl", ".ndjson")
PARQUET = (".parquet",)


def files_of(path: Path, pattern: str) -> list[Path]:
    """`path` itself, or the files below the folder `path` whose names match `pattern`, sorted; hidden ones left out.

    Raises `StudyError` where there is nothing to read, or `path` is neither a file nor a folder.
    """
    try:
        mode = path.stat().st_mode
    except (OSError, ValueError) as error:
        said = getattr(error, "strerror", None) or error
        raise StudyError(f"task.options.path '{path}'", f"can't be read ({said})", "mend the path") from None
    if stat.S_ISREG(mode):
        return [path]
    if not stat.S_ISDIR(mode):
        raise StudyError(f"task.options.path '{path}'", "is neither a file nor a folder", "name a text file")
    found = []
    for folder, folders, names in os.walk(path):
        folders[:] = [f for f in folders if not f.startswith(".")]
        found += [Path(folder, n) for n in names if fnmatch.fnmatch(n, pattern) and not n.startswith(".")]
    found = sorted((f for f in found if f.is_file()), key=lambda f: f.relative_to(path).as_posix())
    if not found:
        raise StudyError(f"task.options.path '{path}'", f"no file below it matches '{pattern}'", "set pattern")
    return found


def documents_of(files: Iterable[Path], folder: Path, column: str, encoding: str) -> Iterator[Document]:
    """The documents of `files`, named by their place below `folder`; text as UTF-8.

    A file that ends in ``.jsonl``, ``.ndjson`` or ``.parquet`` has a document in each row of `column`; any other file
    is one document. Raises `StudyError` naming file, place and remedy.
    """
    for file in files:
        name = "" if file == folder else file.relative_to(folder).as_posix()
        ending = file.suffix.lower()
        try:
            if ending in JSON_LINES:
                rows: Iterable[tuple[str, bytes]] = _json_lines(file, column)
            elif ending in PARQUET:
                rows = _parquet(file, column)
            else:
                rows = [("", _plain(file, encoding))]
            for row, text in rows:
                if b"\0" in text:
                    raise StudyError(_place(file, row), f"is no text: a zero at byte {text.index(0)}", "leave it out")
                yield name + row, text
        except OSError as error:
            raise StudyError(file, f"can't be read ({error.strerror or error})", "mend the file") from None


def _place(file: Path, row: str) -> str:
    return f"{file}{row}"


def _plain(file: Path, encoding: str) -> bytes:
    raw = file.read_bytes()
    try:
        text = codecs.decode(raw, encoding)
    except UnicodeDecodeError as error:
        what = f"byte {raw[error.start]:#04x} at {error.start} is not {encoding}"
        raise StudyError(file, what, "set task.options.encoding (latin-1, ...), or leave the file out") from None
    return raw if encoding == "utf-8" else text.encode("utf-8", "surrogatepass")


def _json_lines(file: Path, column: str) -> Iterator[tuple[str, bytes]]:
    with file.open("rb") as lines:
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            try:
                row = json.loads(line)
            except (ValueError, RecursionError) as error:
                raise StudyError(f"{file}:{number}", f"is not JSON ({error})", "one JSON object a line") from None
            if not isinstance(row, dict) or column not in row:
                known = ", ".join(map(str, row))[:200] if isinstance(row, dict) else "no object"
                raise StudyError(f"{file}:{number}", f"has no '{column}' (it has: {known})", "set column")
            yield f":{number}", text_of(row[column], f"{file}:{number}", column)


def _parquet(file: Path, column: str) -> Iterator[tuple[str, bytes]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(file) as table:
            known = table.schema_arrow.names
            if column not in known:
                what = f"has no column '{column}' (it has: {', '.join(known)[:200]})"
                raise StudyError(file, what, "set task.options.column")
            number = 0
            for batch in table.iter_batches(batch_size=256, columns=[column]):
                for value in batch.column(0).to_pylist():
                    number += 1
                    yield f":{number}", text_of(value, f"{file}:{number}", column)
    except pa.ArrowException as error:
        raise StudyError(file, f"is no Parquet file ({' '.join(str(error).split())[:120]})", "mend the file") from None


def text_of(value: Any, where: object, column: str) -> bytes:
    """A cell as UTF-8; an empty one is an empty document. Raises `StudyError` for anything that is no text."""
    if value is None:
        return b""
    if not isinstance(value, str):
        what = f"'{column}' holds {type(value).__name__}, not text"
        raise StudyError(where, what, "set task.options.column to a column of text")
    try:
        return value.encode()
    except UnicodeEncodeError as error:
        what = f"half a character (U+{ord(value[error.start]):X}) at {error.start}"
        raise StudyError(where, what, "mend the file") from None


def first_bytes(documents: Iterable[Document], most: int | None) -> Iterator[Document]:
    """Documents until `most` bytes have come; the last one is cut there, not within a character. None: all of them."""
    left = most
    for name, text in documents:
        if left is None or len(text) <= left:
            yield name, text
        else:
            yield name, text[:left].decode("utf-8", "ignore").encode()
        if left is not None:
            left -= len(text)
            if left <= 0:
                return
