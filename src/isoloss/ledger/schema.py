"""Tables of the run database and its version."""

from __future__ import annotations

from sqlalchemy import Column, Float, ForeignKey, Index, Integer, LargeBinary, MetaData, String, Table, Text

#: Written into every ledger; a ledger with a higher number is refused.
SCHEMA_VERSION = 1

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

# status: queued -> running (claimed by `owner` until `lease`) -> finished | diverged | dropped | failed
runs = Table(
    "runs",
    metadata,
    Column("run_id", String, primary_key=True),
    Column("spec", Text, nullable=False),
    Column("status", String, nullable=False),
    Column("price", Float, nullable=False),
    Column("owner", String),
    Column("lease", Float),
    Column("attempts", Integer, nullable=False, default=0),
    Column("qualities", Text),
    Column("resources", Text),
    Column("seconds", Text),
    Column("curve", LargeBinary),
    Column("environment_id", String, ForeignKey("environments.environment_id")),
    Column("error", Text),
    Column("ended", Float),
    Index("runs_status", "status"),
)

# faults that a run survived; a table of its own, which a ledger of an older isoloss gains when it is opened
notes = Table(
    "notes",
    metadata,
    Column("run_id", String, ForeignKey("runs.run_id"), primary_key=True),
    Column("position", Integer, primary_key=True),
    Column("text", Text, nullable=False),
)

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
    Index("members_run", "run_id"),
)
