"""Everybody's runs, as they lie on disk, into one frame: a row a finished run. The importer is picked by content."""

from __future__ import annotations

from isoloss.ledger.importers.load import Imported, load

__all__ = ["Imported", "load"]
