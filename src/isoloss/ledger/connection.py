"""A connection to the run database: SQLite (WAL) by a file's path, PostgreSQL by URL."""

from __future__ import annotations

import os
import random
import re
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote

from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, SQLAlchemyError

from isoloss.errors import IsolossError, LedgerError, MissingError

T = TypeVar("T")

#: Seconds that a PostgreSQL server which was there before may be away.
PATIENCE = 120.0
_KINDS = "a ledger is a file, or postgresql://USER:PASSWORD@HOST/DATABASE"
#: What looks like a user and a password.
_WORD = re.compile(r"[^/\s:@]{0,99}:\S{1,199}@")
#: Bytes of the index of a write-ahead log, at least.
_INDEX = 1 << 15
#: SQLSTATEs of a transaction that may simply be repeated: a deadlock, a conflict of two.
_AGAIN = frozenset({"40P01", "40001"})


def is_url(ledger: str) -> bool:
    """Whether a ledger's name is a URL rather than the path of a file."""
    return "://" in ledger


def shown_name(ledger: str) -> str:
    """A ledger's name as anybody may read it: of a URL scheme, host, port and database, never who or with what word.

    >>> shown_name("postgresql://ada:s3cret@db.example:5432/runs?password=s3cret")
    'postgresql://db.example:5432/runs'
    """
    if not is_url(ledger):
        return _WORD.sub("...@", ledger)  # a URL that was mistyped
    try:
        url = make_url(ledger)
    except (ArgumentError, ValueError):
        return f"{_WORD.sub('...@', ledger.split('://')[0])[:20]}://..."
    if url.get_backend_name() == "sqlite":
        return _WORD.sub("...@", url.database or "memory")
    place = (url.host or "") + (f":{url.port}" if url.port else "")
    return f"{url.get_backend_name()}://{place}/{_WORD.sub('...@', url.database or '')}"


class Database:
    """An open run database: `read` and `write` carry out a function in one transaction.

    Raises `LedgerError` in one line, `MissingError` where PostgreSQL is named and its driver is not installed.
    """

    def __init__(self, ledger: str, *, create: bool, read_only: bool = False) -> None:
        self.name = shown_name(ledger)
        #: Told, in a sentence, that the server is waited for.
        self.tell: Callable[[str], None] = lambda said: None
        url = _url_of(ledger, create)
        self.file = Path(url.database) if url.get_backend_name() == "sqlite" and url.database else None
        if self.file is not None and not create and is_sealed(self.file):
            url, read_only = _sealed(self.file), True
        self.read_only = read_only
        told = ("host", "port", "connect_timeout", "sslmode", "mode", "immutable", "uri")
        words = (str(word) for key, word in url.query.items() if key not in told)
        self._secrets = {secret for secret in (url.password, url.username, *words) if secret}
        try:
            self._engine: Engine = create_engine(url)
        except ModuleNotFoundError as error:
            raise MissingError(
                self.name, f"needs the package '{error.name}'", "pip install 'isoloss[postgres]'"
            ) from None
        self.dialect = self._engine.dialect.name
        if self.dialect == "sqlite":
            event.listen(self._engine, "connect", _sqlite_read_only if read_only else _sqlite_pragmas)
            event.listen(self._engine, "begin", _sqlite_begin)
            self._reader = self._engine.execution_options(reading=True)
        else:
            self._reader = self._engine.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
            if read_only:
                self._engine = self._reader
        self._reached = False

    def close(self) -> None:
        """Give the connections back."""
        self._engine.dispose()

    def read(self, work: Callable[[Connection], T]) -> T:
        """What `work` reads, all of it from one moment. It may be carried out again where the server was away.

        Whatever `work` can't make sense of is an altered record: its bytes are what `finish_all` wrote, or damaged.
        """
        try:
            return self._patiently(self._reader, work)
        except (IsolossError, SQLAlchemyError):
            raise
        except Exception as error:
            said = f"holds a record that can't be read ({type(error).__name__})"
            raise LedgerError(self.name, said, f"isoloss verify {self.name} names it") from error

    def write(self, work: Callable[[Connection], T]) -> T:
        """Carry out `work` in one transaction, whole or not at all.

        Where the server dies, `work` is carried out again, and the first time may have been committed with the answer
        lost: `work` must look before it writes, so that twice is once.
        """
        return self._patiently(self._engine, work)

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """A connection to read from in pieces, all of one moment."""
        with self.faults(), self._reader.begin() as db:
            yield db

    def vacuum(self) -> None:
        """Give the space of what was removed back to the disk."""
        with self.faults():
            if self.dialect != "sqlite":
                with self._engine.connect().execution_options(isolation_level="AUTOCOMMIT") as db:
                    db.exec_driver_sql("VACUUM")
                return
            connection = self._engine.raw_connection()  # SQLite does it outside of a transaction only
            try:
                for said in ("VACUUM", "PRAGMA wal_checkpoint(TRUNCATE)"):
                    connection.execute(said)
            except sqlite3.Error as error:
                raise DBAPIError.instance("VACUUM", None, error, sqlite3.Error) from None
            finally:
                connection.close()

    @contextmanager
    def faults(self) -> Iterator[None]:
        """What the database says against anything, as `LedgerError`."""
        try:
            yield
        except SQLAlchemyError as error:
            raise self._said(error) from None

    def _patiently(self, engine: Engine, work: Callable[[Connection], T]) -> T:
        deadline = None
        with self.faults():
            while True:
                try:
                    with engine.begin() as db:
                        done = work(db)
                    self._reached = True
                    return done
                except DBAPIError as error:
                    if getattr(error.orig, "sqlstate", None) in _AGAIN:
                        continue
                    if self.dialect == "sqlite" or not self._reached or not _away(error):
                        raise
                    now = time.monotonic()
                    if deadline is None:
                        deadline = now + PATIENCE
                        self.tell(f"{self.name} does not answer; trying again for up to {PATIENCE:g} s")
                    if now > deadline:
                        raise
                    self._engine.dispose()
                    time.sleep(0.1 + 0.4 * random.random())

    def _said(self, error: SQLAlchemyError) -> LedgerError:
        text = " ".join(str(error.orig if isinstance(error, DBAPIError) else error).split())
        for secret in self._secrets:
            text = text.replace(secret, "...")
        low = text.lower()
        if "disk is full" in low or "no space left" in low or "disk i/o error" in low:
            return LedgerError(
                self.name, f"can't be written: {text}", "free space and run again: finished runs are kept"
            )
        if "not a database" in low or "malformed" in low:
            remedy = (
                f"isoloss rescue {self.name} --out NEW.sqlite saves what can be read; or name another with --ledger"
            )
            return LedgerError(self.name, "is damaged or not a ledger", remedy)
        if "readonly" in low or "read-only" in low or "unable to open" in low:
            return LedgerError(
                self.name, f"can't be opened for writing: {text}", "check its path, permissions and disk"
            )
        if "locked" in low:
            return LedgerError(
                self.name, "is locked by another program", "close it and run again: finished runs are kept"
            )
        if self.dialect == "postgresql" and isinstance(error, DBAPIError) and _away(error):
            return LedgerError(
                self.name, f"can't be reached: {text[:300]}", "check the URL and that PostgreSQL runs there"
            )
        return LedgerError(self.name, text[:300], "")


def _url_of(ledger: str, create: bool) -> URL:
    if is_url(ledger):
        try:
            url = make_url(ledger)
            backend = url.get_backend_name()
            if "@" in (url.host or ""):  # the end of a password
                raise ValueError
        except (ArgumentError, ValueError):
            raise LedgerError(shown_name(ledger), "is not a URL", f"{_KINDS}; write '@' in a word as %40") from None
        if backend in ("postgresql", "postgres"):
            waits = url.query.get("connect_timeout", "10")
            return url.set(drivername="postgresql+psycopg").update_query_dict({"connect_timeout": waits})
        if backend != "sqlite":
            raise LedgerError(shown_name(ledger), f"'{backend[:20]}' is no database that a ledger can be", _KINDS)
        ledger = url.database or ""
    path = Path(ledger)
    try:
        path.stat()
    except FileNotFoundError:
        pass
    except (OSError, ValueError) as error:  # a name that is too long, a folder that is a file, a NUL
        said = error.strerror if isinstance(error, OSError) else error
        raise LedgerError(shown_name(ledger), f"can't be opened ({said})", _KINDS) from None
    if not ledger or path.is_dir():
        raise LedgerError(ledger or "--ledger", "is a folder, not a ledger", "name a file")
    if not path.exists() and not create:
        raise LedgerError(shown_name(ledger), "no such ledger", "run a study first, or name one with --ledger")
    if not path.parent.exists():
        raise LedgerError(shown_name(ledger), "its folder does not exist", f"mkdir -p {path.parent}")
    return URL.create("sqlite", database=str(path))


def is_sealed(file: Path) -> bool:
    """Whether a ledger lies where nobody can write beside it, as SQLite must even to read one that is in use: in a
    folder without that permission, or on a full disk. Where somebody has it open, its log and index are there."""
    if not file.exists() or _bytes(file, "-wal") or _bytes(file, "-shm") >= _INDEX:
        return False
    if not os.access(file.parent, os.W_OK):
        return True
    disk = os.statvfs(file.parent)
    return disk.f_frsize * (disk.f_bavail if os.geteuid() else disk.f_bfree) < _INDEX


def _bytes(file: Path, end: str) -> int:
    beside = file.with_name(file.name + end)
    return beside.stat().st_size if beside.exists() else 0


def _sealed(file: Path) -> URL:
    """The file read as it lies, without locks: nobody changes it."""
    told = {"mode": "ro", "immutable": "1", "uri": "true"}
    return URL.create("sqlite", database=f"file:{quote(str(file))}", query=told)


def _away(error: DBAPIError) -> bool:
    """Whether the server is what failed: it can't be reached, was stopped, or is starting."""
    state = getattr(error.orig, "sqlstate", None)
    if state is None:
        return error.connection_invalidated or type(error).__name__ == "OperationalError"
    return bool(state.startswith("08") or state in ("57P01", "57P02", "57P03"))


def _sqlite_pragmas(connection: Any, _: Any) -> None:
    connection.isolation_level = None  # SQLAlchemy's own BEGIN below takes over
    cursor = connection.cursor()
    cursor.execute("PRAGMA busy_timeout=30000")
    _write_ahead(cursor)
    # 64 MB of cache: keys are hashes, so a large ledger is written all over
    for pragma in ("synchronous=NORMAL", "foreign_keys=ON", "cache_size=-65536", "mmap_size=1073741824"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _sqlite_read_only(connection: Any, _: Any) -> None:
    connection.isolation_level = None
    cursor = connection.cursor()
    for pragma in ("busy_timeout=30000", "query_only=ON"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _write_ahead(cursor: sqlite3.Cursor) -> None:
    # WAL: readers never wait for the writer, and a killed process leaves a whole database behind. Who opens a new file
    # beside somebody else is refused at once, whatever the busy timeout: SQLite sees a deadlock where each waits for
    # the other to leave the old mode.
    deadline = time.monotonic() + 30
    while True:
        try:
            cursor.execute("PRAGMA journal_mode=WAL")
            return
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > deadline:
                raise
            time.sleep(0.01 + 0.04 * random.random())


def _sqlite_begin(connection: Connection) -> None:
    # who means to write takes the lock at once: a reader that turned writer could find its view out of date
    reading = connection.get_execution_options().get("reading", False)
    connection.exec_driver_sql("BEGIN" if reading else "BEGIN IMMEDIATE")
