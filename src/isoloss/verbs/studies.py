"""The verbs over study files: run, plan, report."""

from __future__ import annotations

import contextlib
import math
import os
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from isoloss.blame import blamed, line_of
from isoloss.errors import IsolossError, StudyError
from isoloss.sinks import sink_of
from isoloss.study import Study, check_names, read_study
from isoloss.verbs.sending import sending

if TYPE_CHECKING:  # each verb imports what it needs, so that workers start before statistics are loaded
    from isoloss.gains.analysis import StudyResult
    from isoloss.planning.price import PlanSummary

REPORTS = "reports"
#: Seconds into a run after which the driver loads the analysis: by then the workers are loaded and training.
PRELOAD_AFTER = 8.0


def ledger_url(url: str | None) -> str:
    """`url`, or the environment's ``ISOLOSS_LEDGER``, or ``isoloss.sqlite`` in this folder."""
    from isoloss.ledger.store import DEFAULT

    return url or os.environ.get("ISOLOSS_LEDGER") or DEFAULT


@dataclass(frozen=True)
class OpenStudy:
    """A study read from its file, its plug-ins loaded and its names checked."""

    study: Study
    text: str
    path: Path
    plugins: tuple[Path, ...]


def open_study(path: str | os.PathLike[str]) -> OpenStudy:
    """Read and check a study file; raises `StudyError` or `UnknownNameError` in one line."""
    from isoloss.registry import load_plugin

    path = Path(path)
    study, text = read_study(path)
    plugins = tuple(path.resolve().parent / p for p in study.plugins)
    for plugin in plugins:
        load_plugin(plugin)
    check_names(study, path)
    return OpenStudy(study, text, path, plugins)


@contextlib.contextmanager
def naming(opened: OpenStudy) -> Iterator[None]:
    """Faults of the study name its file, and what one of its plug-ins raises is a `StudyError` with the line."""
    own = f"study '{opened.study.name}'"
    try:
        yield
    except StudyError as error:
        field = error.where.removeprefix(own).removeprefix(": ")
        if field == error.where and field.partition(".")[0] not in Study.model_fields:
            raise  # of something else, such as a plug-in's file
        raise StudyError(f"{opened.path}: {field}" if field else opened.path, error.what, error.remedy) from None
    except IsolossError:
        raise
    except Exception as error:
        if not line_of(error, opened.plugins):
            raise
        raise StudyError(opened.path, f"a plug-in failed: {blamed(error, opened.plugins)}", "mend that line") from error


def run(
    path: str | os.PathLike[str],
    *,
    workers: int | None = None,
    engine: str = "local",
    engine_options: Mapping[str, str] | None = None,
    ledger: str | None = None,
    out: str | os.PathLike[str] = REPORTS,
    device: str | None = None,
    to: Sequence[str] = (),
    observer: Any = None,
) -> tuple[StudyResult, Path]:
    """Run all rounds of a study (what the ledger holds is not trained again), analyse, write the page.

    `engine` and `engine_options`: where runs run, as ``isoloss list engines`` has them; `workers`: runs at a time, left
    out the engine's choice. `device`: ``cpu``, ``cuda`` or ``cuda:N``; left out, ``ISOLOSS_DEVICE``, or a GPU where
    there is one. `to`: trackers that are sent each run when it ends (`isoloss.sinks`); a fault of theirs is said to
    `observer` and harms nothing. Returns the result and the page's path. Raises `StudyError`, `LedgerError`,
    `MissingError`.
    """
    from isoloss.execution.engines import open_engine

    opened, url, began = open_study(path), ledger_url(ledger), time.time()
    sinks = [sink_of(text) for text in to]
    device = device or os.environ.get("ISOLOSS_DEVICE") or "auto"
    chosen = open_engine(engine, workers=workers, device=device, options=engine_options, folder=Path(out))
    later = threading.Timer(PRELOAD_AFTER, _preload)
    later.daemon = True
    try:
        if "://" not in url and not Path(url).exists():
            chosen.start(opened.plugins)  # a new ledger: there is work, so workers load while the driver does
        from isoloss.execution.driver import drive
        from isoloss.ledger.store import Ledger

        store = Ledger(url)
        try:
            later.start()
            store.open_study(opened.study, opened.text, str(opened.path))
            with naming(opened), sending(opened.study, store, sinks, observer) as told:
                drive(opened.study, store, chosen, opened.plugins, told, opened.path.resolve().parent)
            later.cancel()
            wall = time.time() - began
            with naming(opened):
                return _report(opened, store, Path(out), {"wall_seconds": wall, "workers": chosen.slots})
        finally:
            store.close()
    finally:
        later.cancel()
        chosen.stop()


def _preload() -> None:
    """Load what the analysis and the page need while the workers train and the driver only waits."""
    with contextlib.suppress(ImportError):  # will be met again, and said, where it is needed
        import altair  # noqa: F401

        from isoloss.analysis import analyse  # noqa: F401
        from isoloss.report.document import script_bundle

        script_bundle()


def report(
    path: str | os.PathLike[str], *, ledger: str | None = None, out: str | os.PathLike[str] = REPORTS
) -> tuple[StudyResult, Path]:
    """Analyse a study as far as its ledger goes and write its page; trains nothing."""
    from isoloss.ledger.store import Ledger

    opened = open_study(path)
    store = Ledger(ledger_url(ledger), create=False)
    try:
        with naming(opened):
            return _report(opened, store, Path(out), {})
    finally:
        store.close()


def _report(opened: OpenStudy, store: Any, out: Path, extra: dict[str, Any]) -> tuple[StudyResult, Path]:
    from isoloss.report import write_page

    result = result_of(opened, store, extra)
    folder = out / opened.study.name
    try:
        return result, write_page(result, folder)
    except OSError as error:
        raise IsolossError(folder, f"the report can't be written ({error.strerror})", "see --out") from error


def result_of(opened: OpenStudy, store: Any, extra: Mapping[str, Any]) -> StudyResult:
    """The result of a study as far as the open ledger `store` goes; `extra` joins its provenance."""
    from isoloss.analysis import analyse
    from isoloss.planning.specs import study_task

    study = opened.study
    machine = store.machine(study)
    environment = machine[-1]["environment"] if machine else {}
    phases: dict[str, float] = {}
    for record in machine:
        for phase, seconds in record["seconds"].items():
            phases[phase] = phases.get(phase, 0.0) + seconds
    task = study_task(study)
    task.prepare()
    provenance = {
        "command": f"isoloss run {opened.path}",
        "study_file": opened.text,
        "study_id": study.study_id,
        "ledger": store.name,
        "environment": environment,
        "measured": time.strftime("%Y-%m-%d", time.gmtime(machine[-1]["ended"])) if machine else "",
        "seconds_by_phase": phases,
        "errors": sorted({r["error"] for r in machine if r["error"]})[:20],
        **extra,
    }
    return analyse(
        study,
        store.table(study),
        curves=store.curves(study),
        provenance=provenance,
        facts=task.facts(),
        machines={r["run_id"]: _kind_of_machine(r["environment"]) for r in machine if r["environment"]},
    )


def _kind_of_machine(environment: Mapping[str, Any]) -> str:
    return ", ".join(str(environment.get(part, "?")) for part in ("system", "cpu", "cores"))


def plan(
    path: str | os.PathLike[str], *, ledger: str | None = None, workers: int | None = None, timing: bool = True
) -> PlanSummary:
    """What `run` would do, its price, and the smallest gain it can resolve.

    Minutes come from runs in the ledger; with `timing`, an arm and rung not in it is timed on a few dozen steps.
    """
    from isoloss.execution.timing import Stopwatch
    from isoloss.execution.worker import use_one_thread
    from isoloss.ledger.store import Ledger
    from isoloss.ledger.table import RunTable
    from isoloss.planning.price import ahead, known_seconds, samples, summarise

    opened, url = open_study(path), ledger_url(ledger)
    study = opened.study
    table = RunTable.empty()
    if "://" in url or Path(url).exists():
        store = Ledger(url, create=False)
        try:
            table = store.table(study)
        finally:
            store.close()
    seconds, ratios, watch = known_seconds(table), dict[str, float](), Stopwatch()
    with naming(opened):
        if timing:
            use_one_thread()
            for cell, runs in samples(study, ahead(study, table)[1]).items():
                timed = [t for run in runs if cell not in seconds and (t := watch.time(run)) is not None]
                if timed:
                    seconds[cell] = sum(t.seconds for t in timed) / len(timed)
                found = [t.price_ratio for t in timed if t.price_ratio is not None]
                ratios[cell[0]] = max([ratios.get(cell[0], 1.0), *found], key=lambda ratio: abs(math.log(ratio)))
        return summarise(study, table, seconds, workers or os.cpu_count() or 1, ratios)
