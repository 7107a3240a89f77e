"""The command line: parse, call, print. Every verb is a function of `isoloss.api`."""

from isoloss.cli.frame import app, main

from isoloss.cli import studies, watching, tables, laws, progress, corpora  # isort: skip  (help lists the verbs in this order)

__all__ = ["app", "corpora", "laws", "main", "progress", "studies", "tables", "watching"]
