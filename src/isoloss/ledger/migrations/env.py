"""Alembic's entry: carries out migrations on the connection, and in the transaction, that `isoloss.ledger.versions`
hands over."""

from alembic import context

context.configure(connection=context.config.attributes["connection"])
with context.begin_transaction():
    context.run_migrations()
