"""The command line: parse, call, print. Every verb is a function of `isoloss.api`."""

from isoloss.cli.frame import app, main

from isoloss.cli import studies, watching, figures, tables, laws, progress, corpora, ledgers, serving  # isort: skip

__all__ = [
    "app",
    "corpora",
    "figures",
    "laws",
    "ledgers",
    "main",
    "progress",
    "serving",
    "studies",
    "tables",
    "watching",
]
