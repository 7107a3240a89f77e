"""trackio on this machine: a run each, named by its run id, in a project's own database."""

from __future__ import annotations

import contextlib
import os
from typing import Any

from isoloss.errors import IsolossError, MissingError
from isoloss.sinks import sinks
from isoloss.sinks.base import Record, Sink

ELSEWHERE = ("TRACKIO_SPACE_ID", "TRACKIO_SERVER_URL")


class Trackio(Sink):
    """``trackio:PROJECT``. Only into this machine's store: of a Space or a server trackio can't tell what it holds, so
    runs sent twice would double there; ``trackio sync`` brings the store to a Space."""

    name = "trackio"

    def __init__(self, target: str) -> None:
        """Raises `ValueError` without a project, `IsolossError` where trackio writes elsewhere, `MissingError` without
        it."""
        if not target:
            raise ValueError("names no project; write --to trackio:PROJECT")
        for variable in ELSEWHERE:
            if os.environ.get(variable):
                raise IsolossError(
                    "--to trackio",
                    f"{variable} is set, and runs sent twice would double there",
                    "unset it, and use `trackio sync`",
                )
        try:
            import trackio
        except ModuleNotFoundError:
            raise MissingError("--to trackio", "trackio is not installed", "pip install 'isoloss[trackio]'") from None
        self._trackio: Any = trackio
        self._project, self._study = target, ""
        self._held: dict[str, Any] = {}

    def open(self, study: str) -> None:
        """Look up what the project holds."""
        self._study = study
        with contextlib.suppress(ValueError):  # a new project
            self._held = {run.name: run for run in self._trackio.Api().runs(self._project)}

    def run(self, record: Record) -> bool:
        """Write the run, unless it is there, whole and with the same status."""
        old = self._held.pop(record.run_id, None)
        if old is not None:
            if self._last(record.run_id).get("status") == record.outcome.status:
                return False
            old.delete()
        with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere):  # it greets each run
            run = self._trackio.init(
                self._project,
                name=record.run_id,
                group=self._study,
                config=record.settings(),
                embed=False,
                auto_log_gpu=False,
                auto_log_cpu=False,
            )
            for step, values in record.points():
                run.log(values, step=step)
            said = {"error": record.outcome.error} if record.outcome.error else {}
            run.log({**record.results(), **said, "status": record.outcome.status}, step=record.last_step)
            self._trackio.finish()
        return True

    def _last(self, name: str) -> dict[str, Any]:
        from trackio.sqlite_storage import SQLiteStorage

        logged = SQLiteStorage.get_logs(self._project, name)
        return logged[-1] if logged else {}

    def close(self) -> None:
        """Each run has been closed by itself."""


sinks.file("trackio", Trackio)
