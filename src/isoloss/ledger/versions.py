"""The version of a ledger: a new one is made, an older one upgraded with a backup beside it, a newer one refused."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing, suppress
from pathlib import Path

from sqlalchemy import Connection, inspect, select, text

from isoloss.errors import LedgerError
from isoloss.ledger import schema
from isoloss.ledger.connection import Database

#: The advisory lock of PostgreSQL under which a ledger is made or upgraded ("isoloss" in ASCII).
_LOCK = 0x69736F6C6F7373


def open_version(database: Database, *, create: bool) -> None:
    """Bring an opened database to this version: its tables are made where there are none (and `create`).

    Whoever opens an older ledger first upgrades it, in one transaction; the others wait. Of a file, a copy is left
    beside it (``NAME.v1-backup``); of a PostgreSQL database, its tables in a schema of their own
    (``isoloss_v1_backup``). Raises `LedgerError` for a newer ledger, for a database that is something else, and where
    the copy can't be made.
    """
    found = database.read(_found)
    if found == schema.SCHEMA_VERSION:
        return
    if database.read_only and isinstance(found, int) and found < schema.SCHEMA_VERSION:
        raise LedgerError(database.name, f"is of version {found}, to be upgraded first", "isoloss status upgrades it")
    database.write(lambda db: _settle(database, db, create))


def _found(db: Connection) -> int | str | None:
    """The version that is written in the database; None where it has no tables of ours."""
    if "meta" not in inspect(db).get_table_names():
        return None
    found = db.scalar(select(schema.meta.c.value).where(schema.meta.c.key == "schema_version"))
    return int(found) if found is not None and found.isdigit() and len(found) < 9 else str(found)


def _settle(database: Database, db: Connection, create: bool) -> None:
    if database.dialect == "postgresql":
        db.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})
    else:
        db.exec_driver_sql("PRAGMA busy_timeout=600000")  # another process may be upgrading a large ledger
    found = _found(db)
    if found == schema.SCHEMA_VERSION:
        return
    if found is None:
        _make(database, db, create)
    elif isinstance(found, str):
        raise LedgerError(
            database.name,
            "does not say its version",
            "it is damaged: see isoloss rescue; or name another with --ledger",
        )
    elif found > schema.SCHEMA_VERSION:
        raise LedgerError(
            database.name,
            f"was written by a newer isoloss (ledger version {found}, this reads {schema.SCHEMA_VERSION})",
            "upgrade: pip install -U isoloss",
        )
    else:
        _back_up(database, db, found)
        _upgrade(db, found)


def _make(database: Database, db: Connection, create: bool) -> None:
    if not create:
        raise LedgerError(database.name, "holds no ledger", "run a study first, or name one with --ledger")
    others = inspect(db).get_table_names()
    if others and database.file is not None:
        raise LedgerError(database.name, "is a database of something else, not a ledger", "name another file")
    schema.metadata.create_all(db)
    db.execute(schema.meta.insert().values(key="schema_version", value=str(schema.SCHEMA_VERSION)))


def _back_up(database: Database, db: Connection, version: int) -> None:
    if database.file is None:
        place = f"isoloss_v{version}_backup"
        db.exec_driver_sql(f"CREATE SCHEMA {place}")
        for table in inspect(db).get_table_names():
            if table in schema.metadata.tables:
                db.exec_driver_sql(f"CREATE TABLE {place}.{table} AS TABLE {table}")
        return
    target = _free(database.file.with_name(f"{database.file.name}.v{version}-backup"))
    whole = target.with_name(target.name + ".part")
    with suppress(OSError):  # of somebody who was killed here
        whole.unlink()
    try:
        # SQLite's own copy: what is only in the write-ahead log so far is part of it
        with closing(sqlite3.connect(database.file)) as old, closing(sqlite3.connect(whole)) as new:
            old.backup(new)
        with open(whole, "rb") as file:
            os.fsync(file.fileno())
        os.replace(whole, target)
    except (OSError, sqlite3.Error) as error:
        with suppress(OSError):
            whole.unlink()
        remedy = "it must be copied before it is upgraded: free space, or allow writing beside it"
        raise LedgerError(target, f"the copy can't be made ({error})", remedy) from None


def _free(path: Path) -> Path:
    """`path`, or the first of its numbered names that is not taken: a backup is never written over."""
    names = [path, *(path.with_name(f"{path.name}-{i}") for i in range(2, 1000))]
    return next(name for name in names if not name.exists())


def _upgrade(db: Connection, version: int) -> None:
    from alembic import command  # a tenth of a second that only an upgrade costs
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", "isoloss.ledger:migrations")
    config.attributes["connection"] = db
    # what version a ledger has stands in `meta`, where every isoloss looks; Alembic is told, and its note removed
    command.stamp(config, "base" if version == 1 else str(version))
    command.upgrade(config, "head")
    db.exec_driver_sql("DROP TABLE alembic_version")
    now = {"key": "schema_version", "value": str(schema.SCHEMA_VERSION)}
    db.execute(schema.meta.update().where(schema.meta.c.key == now["key"]).values(value=now["value"]))
