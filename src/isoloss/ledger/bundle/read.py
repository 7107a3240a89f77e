"""A bundle as a stranger may have written it: nothing of it is believed before it is checked.

Only the files of fixed names are opened, none through a link; each must be the one whose SHA-256 the manifest gives;
sizes are checked before anything is unpacked (`isoloss.ledger.bundle.layout`), and texts are kept as a dictionary until
their length is known, since a few bytes of Parquet can repeat a text a million times.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from isoloss.errors import IsolossError, printable
from isoloss.ledger.bundle.layout import (
    FORMAT,
    FREE,
    GROUP_BYTES,
    GROUP_ROWS,
    MANIFEST,
    MANIFEST_BYTES,
    RATIO,
    SCHEMAS,
    VERSION,
    file_of,
)

_ASK = "it was altered or is damaged: ask for it again"
#: Columns of runs that may be null: what a run without a record lacks.
_NULLABLE = frozenset({"qualities", "resources", "seconds", "environment_id", "error", "ended", "digest", "curve"})


class BundleError(IsolossError):
    """A bundle that can't be read, or is not what it says."""


class _File(BaseModel):
    model_config = ConfigDict(frozen=True)
    rows: int = Field(ge=0)
    bytes: int = Field(ge=0)
    sha256: str = Field(pattern="^[0-9a-f]{64}$")


class _Manifest(BaseModel):
    model_config = ConfigDict(frozen=True)
    format: Literal["isoloss bundle"]
    version: int
    isoloss: str
    schema_: int = Field(alias="schema")
    files: dict[str, _File]


def is_bundle(path: Path) -> bool:
    """Whether `path` looks like a bundle."""
    return (path / MANIFEST).is_file()


class Bundle:
    """An opened bundle, its files checked against the manifest. Raises `BundleError` in one line."""

    def __init__(self, path: Path, told: Callable[[int, int], None] = lambda done, whole: None) -> None:
        """Open the bundle in the folder `path`; `told` gets how many bytes of how many are hashed."""
        self.path = path
        if not path.is_dir():
            what = "is no bundle: a bundle is a folder" if path.exists() else "no such bundle"
            raise BundleError(path, what, "name the folder that isoloss export wrote")
        self._regular(MANIFEST)
        try:
            with (path / MANIFEST).open("rb") as file:
                text = file.read(MANIFEST_BYTES + 1)
        except OSError as error:
            raise BundleError(path / MANIFEST, f"can't be read ({error.strerror})") from None
        if len(text) > MANIFEST_BYTES:
            raise BundleError(path / MANIFEST, f"has more than {MANIFEST_BYTES:,} bytes", _ASK)
        self._manifest = self._read_manifest(text)
        self._check_files(told)
        self.rows = {table: self._manifest.files[file_of(table)].rows for table in SCHEMAS}

    def pages(self, table: str) -> Iterator[list[dict[str, Any]]]:
        """The rows of a table, a row group at a time, with the types of its columns but nothing else checked."""
        path, wanted = self.path / file_of(table), SCHEMAS[table]
        texts = [f.name for f in wanted if not pa.types.is_floating(f.type) and not pa.types.is_integer(f.type)]
        try:
            with pq.ParquetFile(
                path, read_dictionary=texts, thrift_string_size_limit=1 << 20, thrift_container_size_limit=1 << 24
            ) as file:
                self._check_parquet(path, file, wanted, self.rows[table])
                for group in range(file.num_row_groups):
                    yield self._rows(path, file.read_row_group(group), wanted)
        except (pa.ArrowException, OSError, ValueError, KeyError, MemoryError) as error:
            said = printable(str(error) or type(error).__name__, 150)
            raise BundleError(path, f"can't be read as Parquet ({said})", _ASK) from None

    def _read_manifest(self, text: bytes) -> _Manifest:
        where = self.path / MANIFEST
        try:
            manifest = _Manifest.model_validate_json(text)
        except ValidationError as error:
            fault = error.errors(include_url=False)[0]
            at = ".".join(map(str, fault["loc"])) or "JSON"
            raise BundleError(f"{where}: {at[:80]}", fault["msg"][:200], "is this a bundle of isoloss?") from None
        if manifest.version > VERSION:
            said = f"was written by a newer isoloss ({manifest.isoloss[:20]}, {FORMAT} {manifest.version})"
            raise BundleError(where, said, "upgrade: pip install -U isoloss")
        wrong = set(manifest.files) ^ {file_of(table) for table in SCHEMAS}
        if manifest.version < 1 or wrong:
            raise BundleError(where, f"names files that no bundle has, or lacks some: {', '.join(sorted(wrong))}", _ASK)
        return manifest

    def _regular(self, name: str) -> None:
        path = self.path / name
        try:
            mode = os.lstat(path).st_mode
        except OSError as error:
            raise BundleError(path, f"can't be read ({error.strerror})", "a bundle lacks none of its files") from None
        if not stat.S_ISREG(mode):
            what = "a link" if stat.S_ISLNK(mode) else "no plain file"
            raise BundleError(path, f"is {what}", "a bundle holds plain files only: ask for it again")

    def _check_files(self, told: Callable[[int, int], None]) -> None:
        for entry in sorted(os.listdir(self.path)):
            if entry != MANIFEST and entry not in self._manifest.files:
                raise BundleError(self.path / entry, "belongs to no bundle", "remove it, or ask for the bundle again")
        whole, done = sum(f.bytes for f in self._manifest.files.values()), 0
        for name, said in self._manifest.files.items():
            self._regular(name)
            path, found, digest = self.path / name, 0, hashlib.sha256()
            with path.open("rb") as file:
                while block := file.read(1 << 20):
                    digest.update(block)
                    found, done = found + len(block), done + len(block)
                    told(done, whole)
                    if found > said.bytes:
                        break
            if found != said.bytes or digest.hexdigest() != said.sha256:
                raise BundleError(path, "is not the file that the manifest names (SHA-256)", _ASK)

    @staticmethod
    def _check_parquet(path: Path, file: pq.ParquetFile, wanted: pa.Schema, rows: int) -> None:
        meta = file.metadata
        plain = [(f.name, f.type.value_type if pa.types.is_dictionary(f.type) else f.type) for f in file.schema_arrow]
        if plain != [(f.name, f.type) for f in wanted]:
            raise BundleError(path, "has other columns than a bundle", "was it written by another isoloss? upgrade")
        if meta.num_rows != rows:
            raise BundleError(path, f"has {meta.num_rows} rows, and the manifest says {rows}", _ASK)
        groups = [meta.row_group(i) for i in range(meta.num_row_groups)]
        sizes = [g.total_byte_size for g in groups]
        if any(not 0 <= g.num_rows <= GROUP_ROWS for g in groups) or any(not 0 <= s <= GROUP_BYTES for s in sizes):
            limit = f"more than {GROUP_ROWS:,} rows or {GROUP_BYTES:,} bytes in a group"
            raise BundleError(path, f"unpacks to {limit}", "it is none that isoloss export writes")
        if sum(sizes) > FREE + RATIO * path.stat().st_size:
            raise BundleError(
                path, f"unpacks to more than {RATIO} times its size", "it is none that isoloss export writes"
            )

    @staticmethod
    def _rows(path: Path, table: pa.Table, wanted: pa.Schema) -> list[dict[str, Any]]:
        size = 0
        for column in table.columns:
            for chunk in column.chunks:
                if pa.types.is_dictionary(chunk.type):
                    chunk.validate(full=True)
                    lengths = pc.take(pc.binary_length(chunk.dictionary), chunk.indices)
                    size += pc.sum(lengths.cast(pa.int64())).as_py() or 0
        if size > GROUP_BYTES:
            raise BundleError(path, f"unpacks to more than {GROUP_BYTES:,} bytes in a group", "it is not taken in")
        for name in table.column_names:
            if (name not in _NULLABLE or path.name != file_of("runs")) and table.column(name).null_count:
                raise BundleError(f"{path}: {name}", "is empty in some row", _ASK)
        whole = table.cast(wanted)
        whole.validate(full=True)
        rows: list[dict[str, Any]] = whole.to_pylist()
        return rows
