"""From version 1 to 2: members repeat their run's status and price, records have a digest, claims have owners that
beat in place of leases on a clock."""

import sqlalchemy as sa
from alembic import op

from isoloss.ledger.digest import record_digest

revision = "2"
down_revision = None
branch_labels = None
depends_on = None

_BATCH = 1000
_ENDED = ("finished", "diverged", "dropped", "failed")
_SAID = ("run_id", "spec", "status", "qualities", "resources", "seconds", "curve", "environment_id", "error", "ended")


def upgrade() -> None:
    """Add what version 2 has; nothing that was recorded changes."""
    db = op.get_bind()
    if "notes" not in sa.inspect(db).get_table_names():  # the first ledgers of version 1 had none
        op.create_table(
            "notes",
            sa.Column("run_id", sa.String, sa.ForeignKey("runs.run_id"), primary_key=True),
            sa.Column("position", sa.Integer, primary_key=True),
            sa.Column("text", sa.Text, nullable=False),
        )
    op.create_table(
        "owners", sa.Column("owner", sa.String, primary_key=True), sa.Column("beat", sa.Integer, nullable=False)
    )
    op.execute("INSERT INTO owners SELECT DISTINCT owner, 0 FROM runs WHERE status = 'running' AND owner IS NOT NULL")
    _members()
    op.drop_index("runs_status", "runs")
    op.drop_column("runs", "lease")
    op.add_column("runs", sa.Column("digest", sa.String))
    for name, of, held in (("runs_owner", "owner", "owner"), ("runs_error", "run_id", "error")):
        there = sa.text(f"{held} IS NOT NULL")
        op.create_index(name, "runs", [of], sqlite_where=there, postgresql_where=there)
    # a failed run that was queued again kept what it had said, as if it had ended
    op.execute(
        "UPDATE runs SET qualities = NULL, resources = NULL, seconds = NULL, curve = NULL, environment_id = NULL, "
        "error = NULL, ended = NULL WHERE status IN ('queued', 'running') AND ended IS NOT NULL"
    )
    _digests(db)


def _members() -> None:
    op.add_column("members", sa.Column("status", sa.String))
    op.add_column("members", sa.Column("price", sa.Float))
    op.execute("UPDATE members SET status = (SELECT status FROM runs r WHERE r.run_id = members.run_id)")
    op.execute(
        "UPDATE members SET price = (SELECT price FROM runs r WHERE r.run_id = members.run_id) WHERE NOT EXISTS ("
        "SELECT 1 FROM members o WHERE o.run_id = members.run_id AND o.study_id = members.study_id AND "
        "(o.position < members.position OR (o.position = members.position AND o.arm < members.arm)))"
    )
    with op.batch_alter_table("members") as table:
        table.alter_column("status", existing_type=sa.String(), nullable=False)
    op.create_index("members_status", "members", ["study_id", "status", "price", "run_id"])


def _digests(db: sa.Connection) -> None:
    runs = sa.table("runs", *(sa.column(name) for name in _SAID), sa.column("digest"))
    notes = sa.table("notes", sa.column("run_id"), sa.column("position"), sa.column("text"))
    said: dict[str, list[str]] = {}
    for run_id, line in db.execute(sa.select(notes.c.run_id, notes.c.text).order_by(notes.c.run_id, notes.c.position)):
        said.setdefault(run_id, []).append(line)
    ended = sa.select(*(runs.c[name] for name in _SAID)).where(runs.c.status.in_(_ENDED)).order_by(runs.c.run_id)
    last = ""
    while rows := db.execute(ended.where(runs.c.run_id > last).limit(_BATCH)).all():
        last = rows[-1].run_id
        found = [
            {"of": row.run_id, "now": record_digest(**row._asdict(), notes=said.get(row.run_id, ()))} for row in rows
        ]
        db.execute(runs.update().where(runs.c.run_id == sa.bindparam("of")).values(digest=sa.bindparam("now")), found)
