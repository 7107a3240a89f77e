"""Bundles: a ledger, or some of its studies, as a folder of Parquet files that any other ledger takes in."""

from __future__ import annotations

from isoloss.ledger.bundle.merge import Merged, merge
from isoloss.ledger.bundle.read import Bundle, is_bundle
from isoloss.ledger.bundle.write import write

__all__ = ["Bundle", "Merged", "is_bundle", "merge", "write"]
