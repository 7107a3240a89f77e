"""The verb ``serve``: a ledger's pages over HTTP."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path

from isoloss.errors import MissingError, TableError
from isoloss.verbs.studies import ledger_url


def serve(
    ledger: str | None = None,
    *,
    host: str = "127.0.0.1",
    port: int = 8765,
    token: str | None = None,
    names: Sequence[str] = (),
    results: str | os.PathLike[str] | None = None,
    plugins: bool = False,
    started: Callable[[str], None] = lambda address: None,
) -> None:
    """Serve the queue, reports, atlas and origin of `ledger`, read-only, until it is interrupted.

    Any `host` but this machine's own needs a `token` (left out, ``ISOLOSS_TOKEN``) of 16 characters or more. `names`:
    further host names that the server goes by. `results`: a folder of study cards that the atlas shows too; by default
    ``results`` here. `plugins` lets the plug-ins of the ledger's studies run, which are code. `started` is told the
    address. Raises `IsolossError` in one line: no such ledger, a port in use, a missing token.
    """
    try:
        from isoloss.serve.run import serve as run
    except ModuleNotFoundError as error:
        raise MissingError(
            "isoloss serve", f"needs the package '{error.name}'", "pip install 'isoloss[serve]'"
        ) from None
    if results is not None and not Path(results).is_dir():
        raise TableError(results, "is no folder of results", "name one that holds card.json files, such as reports")
    run(
        ledger_url(ledger),
        host=host,
        port=port,
        token=token or os.environ.get("ISOLOSS_TOKEN") or None,
        names=names,
        results=None if results is None else Path(results),
        plugins=plugins,
        started=started,
    )
