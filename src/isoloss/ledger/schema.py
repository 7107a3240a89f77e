"""Tables of the run database and its version."""

from __future__ import annotations

from sqlalchemy import Column, Float, ForeignKey, Index, Integer, LargeBinary, MetaData, String, Table, Text

#: Written into every ledger; one with a lower number is upgraded (`isoloss.ledger.versions`), with a higher refused.
SCHEMA_VERSION = 2

metadata = MetaData()

meta = Table("meta", metadata, Column("key", String, primary_key=True), Column("value", String, nullable=False))

studies = Table(
    "studies",
    metadata,
    Column("study_id", String, primary_key=True),
    Column("name", String, nullable=False, index=True),
    Column("text", Text, nullable=False),
    Column("path", Text, nullable=False),
    Column("opened", Float, nullable=False),
)

environments = Table(
    "environments",
    metadata,
    Column("environment_id", String, primary_key=True),
    Column("data", Text, nullable=False),
)

# who works on this ledger; `beat` rises while the driver lives, whatever its clock says
owners = Table(
    "owners",
    metadata,
    Column("owner", String, primary_key=True),
    Column("beat", Integer, nullable=False),
)

# status: queued -> running (claimed by `owner`) -> finished | diverged | dropped | failed
runs = Table(
    "runs",
    metadata,
    Column("run_id", String, primary_key=True),
    Column("spec", Text, nullable=False),
    Column("status", String, nullable=False),
    Column("price", Float, nullable=False),
    Column("owner", String),
    Column("attempts", Integer, nullable=False, default=0),
    Column("qualities", Text),
    Column("resources", Text),
    Column("seconds", Text),
    Column("environment_id", String, ForeignKey("environments.environment_id")),
    Column("error", Text),
    Column("ended", Float),
    Column("digest", String),  # of the whole record, once it has ended: `isoloss.ledger.digest`
    Column("curve", LargeBinary),  # last, so that a page of curves is read only where a curve is
)
Index("runs_owner", runs.c.owner, sqlite_where=runs.c.owner.is_not(None), postgresql_where=runs.c.owner.is_not(None))
Index("runs_error", runs.c.run_id, sqlite_where=runs.c.error.is_not(None), postgresql_where=runs.c.error.is_not(None))

# faults that a run survived
notes = Table(
    "notes",
    metadata,
    Column("run_id", String, ForeignKey("runs.run_id"), primary_key=True),
    Column("position", Integer, primary_key=True),
    Column("text", Text, nullable=False),
)

# A member repeats its run's status and price, so that claims and progress read one index and no run. Where two arms of
# a study have one run, `price` is that of the first and null for the others: sums count it once.
members = Table(
    "members",
    metadata,
    Column("study_id", String, ForeignKey("studies.study_id"), primary_key=True),
    Column("arm", String, primary_key=True),
    Column("run_id", String, ForeignKey("runs.run_id"), primary_key=True),
    Column("position", Integer, nullable=False),
    Column("round", Integer, nullable=False),
    Column("rung", Float, nullable=False),
    Column("purpose", String, nullable=False),
    Column("status", String, nullable=False),
    Column("price", Float),
    Index("members_run", "run_id"),
    Index("members_status", "study_id", "status", "price", "run_id"),
)
