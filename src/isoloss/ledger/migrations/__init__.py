"""How older ledgers become of this version, by Alembic: one file a version."""
