"""Public run tables by pinned commit and SHA-256: looked for in the cache first, then fetched from GitHub."""

from __future__ import annotations

import hashlib
import http.client
import os
import tempfile
import tomllib
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path
from urllib.parse import quote

from isoloss.errors import MissingError, UnknownNameError

RAW = "https://raw.githubusercontent.com"
_LARGEST = 64 * 2**20
_AT_ONCE = 8
_SECONDS = 30


@dataclass(frozen=True)
class PublicTable:
    """Others' runs: where they are published, under which licence, and the SHA-256 of every file.

    `checksums` maps a file's name in the cache to its SHA-256, `paths` the start of a name to the start of its path in
    the repository, `derived` a file that was converted from others of the repository to what it was made from (it
    can't be fetched), `columns` a file or folder to the columns that play a role in it.
    """

    name: str
    title: str
    about: str
    folder: str
    repo: str
    commit: str
    licence: str
    paper: str
    checksums: Mapping[str, str]
    paths: Mapping[str, str]
    derived: Mapping[str, str]
    columns: Mapping[str, Mapping[str, str]]

    def url(self, file: str, base: str = RAW) -> str:
        """Where `file` is published."""
        start = max((s for s in self.paths if file.startswith(s)), key=len)
        return f"{base}/{self.repo}/{self.commit}/{quote(self.paths[start] + file[len(start) :])}"


@dataclass(frozen=True)
class Fetched:
    """A table's files on this machine: all in `folder`; `absent` ones are derived and can't be fetched."""

    table: PublicTable
    folder: Path
    cached: tuple[str, ...]
    downloaded: tuple[str, ...]
    absent: tuple[str, ...]


@cache
def public_tables() -> Mapping[str, PublicTable]:
    """Every table that can be named, by name."""
    here = files("isoloss.evidence")
    whole = tomllib.loads(here.joinpath("tables.toml").read_text(encoding="utf-8"))
    tables = {}
    for name, entry in whole.items():
        lines = here.joinpath("checksums", f"{name}.sha256").read_text(encoding="utf-8").splitlines()
        sums = {file: digest for digest, _, file in (line.partition("  ") for line in lines)}
        tables[name] = PublicTable(name=name, checksums=sums, **{"derived": {}, **entry})
    return tables


def cache_folder() -> Path:
    """Where tables are kept: ``$ISOLOSS_DATA``, else the user's cache folder."""
    told = os.environ.get("ISOLOSS_DATA")
    if told:
        return Path(told).expanduser()
    from platformdirs import user_cache_path

    return user_cache_path("isoloss") / "tables"


def fetch(
    name: str,
    *,
    cache: Path | None = None,
    base: str = RAW,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Fetched:
    """Every file of the table `name`, from the `cache` (default: `cache_folder`) or else from GitHub.

    A file counts only if its SHA-256 is the pinned one; it is written whole or not at all. `progress` is called with
    the number of files that are there and of all. Raises `UnknownNameError` for an unknown name, and `MissingError`
    for a cached or downloaded file with other bytes, for a table of which all files are derived and none is cached,
    and where the network or the disk fails.
    """
    tables = public_tables()
    if name not in tables:
        raise UnknownNameError("fetch", "table", name, tables)
    table = tables[name]
    folder = (cache if cache is not None else cache_folder()) / table.folder
    cached, wanted = [], []
    for file, digest in table.checksums.items():
        at = folder / file
        if not at.is_file():
            wanted.append(file)
            continue
        if _digest(at.read_bytes()) != digest:
            raise MissingError(at, "holds other bytes than those pinned (SHA-256 differs)", "delete it and fetch again")
        cached.append(file)
    absent = [f for f in wanted if f in table.derived]
    wanted = [f for f in wanted if f not in table.derived]
    if absent and not wanted and not cached:
        origin = f"{absent[0]} was made from {table.derived[absent[0]]}: github.com/{table.repo} @ {table.commit}"
        remedy = f"a copy with the pinned SHA-256 is used where it lies in {folder}"
        raise MissingError(f"fetch {name}", f"can't be fetched, only cited: {origin}", remedy)
    total = len(cached) + len(wanted)
    progress(len(cached), total)
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        done = pool.map(lambda file: _download(table, file, folder, base), wanted)
        try:
            for count, _ in enumerate(done, len(cached) + 1):
                progress(count, total)
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    return Fetched(table, folder, tuple(cached), tuple(wanted), tuple(absent))


def _download(table: PublicTable, file: str, folder: Path, base: str) -> None:
    url = table.url(file, base)
    try:
        with urllib.request.urlopen(url, timeout=_SECONDS) as answer:
            data = answer.read(_LARGEST + 1)
    except urllib.error.HTTPError as error:
        raise MissingError(url, f"answered {error.code} {error.reason}", "is the repository still there?") from None
    except (urllib.error.URLError, http.client.HTTPException, TimeoutError, OSError) as error:
        said = str(getattr(error, "reason", error))[:100]
        remedy = f"check the network, or put the file in {folder}"
        raise MissingError(url, f"can't be fetched ({said})", remedy) from None
    if _digest(data) != table.checksums[file]:
        digests = f"SHA-256 {_digest(data)[:12]}..., not {table.checksums[file][:12]}..."
        what = f"brought other bytes than those pinned ({digests})"
        raise MissingError(url, what, "nothing was kept; report it, the source may have been tampered with")
    at = folder / file
    try:
        at.parent.mkdir(parents=True, exist_ok=True)
        handle, part = tempfile.mkstemp(dir=at.parent, prefix=f".{at.name}.")
        try:
            with os.fdopen(handle, "wb") as out:
                out.write(data)
            os.replace(part, at)
        except BaseException:
            Path(part).unlink(missing_ok=True)
            raise
    except OSError as error:
        remedy = "set ISOLOSS_DATA to a folder that can be written"
        raise MissingError(at, f"can't be written ({error.strerror})", remedy) from None


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
