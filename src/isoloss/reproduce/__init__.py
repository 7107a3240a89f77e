"""Third-party tables: what was published about them, and what this engine makes of the same rows."""

from isoloss.reproduce.registry import REPRODUCTIONS, find_reproduction
from isoloss.reproduce.table import Reproduction, Row, Sheet

__all__ = ["REPRODUCTIONS", "Reproduction", "Row", "Sheet", "find_reproduction"]
