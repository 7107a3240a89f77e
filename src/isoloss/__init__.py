"""isoloss measures algorithmic progress: how many times less of a resource a new learning algorithm needs.

Every verb of the command line is a function here: ``isoloss.run``, ``plan``, ``gain``, ``fit``, ``isoflop``, ``status``
(and ``isoloss.api.report`` and ``isoloss.api.origin``: those names are packages here). Algorithms and tasks of your own
register with ``isoloss.algorithms.algorithm`` and ``isoloss.tasks.task``.
"""

from __future__ import annotations

from typing import Any

__version__ = "0.1.0"
__all__ = [
    "__version__",
    "attribute",
    "chain",
    "fetch",
    "fit",
    "gain",
    "import_runs",
    "isoflop",
    "next_runs",
    "plan",
    "rank",
    "run",
    "status",
]


def __getattr__(name: str) -> Any:
    # loaded on first use, so that `import isoloss` and `isoloss --help` stay instant
    if name in __all__:
        from isoloss import api

        return getattr(api, name)
    raise AttributeError(f"module 'isoloss' has no attribute {name!r}")
