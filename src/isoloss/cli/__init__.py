"""The command line: parse, call, print. Every verb is a function of `isoloss.api`."""

from isoloss.cli.frame import app, main

from isoloss.cli import studies, watching, tables, laws, progress, corpora, ledgers  # isort: skip  (order of the help)

__all__ = ["app", "corpora", "laws", "ledgers", "main", "progress", "studies", "tables", "watching"]
