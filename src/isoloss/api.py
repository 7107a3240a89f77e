"""Every verb of the command line as one Python call."""

from __future__ import annotations

import contextlib
import os
import platform
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from isoloss.errors import IsolossError, MissingError, StudyError, TableError, UnknownNameError
from isoloss.study import Study, check_names, read_study

if TYPE_CHECKING:  # each verb imports what it needs, so that workers start before statistics are loaded
    from isoloss.gains.analysis import StudyResult
    from isoloss.gains.result import GainCurve
    from isoloss.laws import FittedLaw
    from isoloss.planning.price import PlanSummary

REPORTS = "reports"
#: Seconds into a run after which the driver loads the analysis: by then the workers are loaded and training.
PRELOAD_AFTER = 8.0
PARAMETER_NAMES = ("n", "params", "parameters", "model size", "model_size", "active_parameters")
TOKEN_NAMES = ("d", "tokens", "train_tokens", "training tokens", "examples", "training_tokens")


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


def run(
    path: str | os.PathLike[str],
    *,
    workers: int | None = None,
    engine: str = "local",
    ledger: str | None = None,
    out: str | os.PathLike[str] = REPORTS,
    observer: Any = None,
) -> tuple[StudyResult, Path]:
    """Run all rounds of a study (what the ledger holds is not trained again), analyse, write the page.

    Returns the result and the page's path. Raises `StudyError`, `LedgerError`, `MissingError`.
    """
    from isoloss.execution.local import LocalEngine

    if engine != "local":
        raise StudyError(f"--engine {engine}", "unknown engine", "known: local")
    opened, url, began = open_study(path), ledger_url(ledger), time.time()
    workers = workers or os.cpu_count() or 1
    local = LocalEngine(workers)
    later = threading.Timer(PRELOAD_AFTER, _preload)
    later.daemon = True
    try:
        if "://" not in url and not Path(url).exists():
            local.start(opened.plugins)  # a new ledger: there is work, so workers load while the driver does
        from isoloss.execution.driver import drive
        from isoloss.ledger.store import Ledger

        store = Ledger(url)
        try:
            later.start()
            store.open_study(opened.study, opened.text, str(opened.path))
            drive(opened.study, store, local, opened.plugins, observer)
            later.cancel()
            wall = time.time() - began
            return _report(opened, store, Path(out), {"wall_seconds": wall, "workers": workers})
        finally:
            store.close()
    finally:
        later.cancel()
        local.stop()


def _preload() -> None:
    """Load what the analysis and the page need while the workers train and the driver only waits."""
    with contextlib.suppress(ImportError):  # will be met again, and said, where it is needed
        import altair  # noqa: F401

        from isoloss.analysis import analyse  # noqa: F401
        from isoloss.report import page

        page.script_bundle()


def report(
    path: str | os.PathLike[str], *, ledger: str | None = None, out: str | os.PathLike[str] = REPORTS
) -> tuple[StudyResult, Path]:
    """Analyse a study as far as its ledger goes and write its page; trains nothing."""
    from isoloss.ledger.store import Ledger

    opened = open_study(path)
    store = Ledger(ledger_url(ledger), create=False)
    try:
        return _report(opened, store, Path(out), {})
    finally:
        store.close()


def _report(opened: OpenStudy, store: Any, out: Path, extra: dict[str, Any]) -> tuple[StudyResult, Path]:
    from isoloss.analysis import analyse
    from isoloss.planning.specs import study_task
    from isoloss.report import write_page

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
        "ledger": store.name if "://" not in store.name else store.name.split("@")[-1],
        "environment": environment,
        "seconds_by_phase": phases,
        "errors": sorted({r["error"] for r in machine if r["error"]})[:20],
        **extra,
    }
    result = analyse(study, store.table(study), curves=store.curves(study), provenance=provenance, facts=task.facts())
    try:
        return result, write_page(result, out / study.name)
    except OSError as error:
        raise IsolossError(out / study.name, f"the report can't be written ({error.strerror})", "see --out") from error


def gain(
    runs: str | os.PathLike[str],
    baseline: str,
    candidate: str,
    *,
    resource: str | None = None,
    quality: str | None = None,
    arm_column: str | None = None,
    seed_column: str | None = None,
    rung_column: str | None = None,
    floor: str | float = "shared",
    mode: str = "curve",
    best: float | None = None,
    at: Sequence[float] = (),
    draws: int = 4000,
) -> GainCurve:
    """The gain of `candidate` over `baseline` in anybody's run table (CSV or Parquet, one finished run a row).

    Columns are named or guessed (see `isoloss.ledger.external`). A quality that is missing or infinite is a run that
    diverged. Where higher is better, `best` is the best possible value (1 for an accuracy) and the distance from it
    is what is compared. Raises `TableError` in one line.
    """
    from isoloss.gains import compare
    from isoloss.ledger.external import external_arms, read_runs

    path = Path(runs)
    table = read_runs(path, arm=arm_column, resource=resource, quality=quality, seed=seed_column, rung=rung_column)
    arms = external_arms(table, (baseline, candidate), best)
    if any(not 0 < a < float("inf") for a in at):
        raise TableError("--at", "a budget must be a positive number", "e.g. --at 1e16")
    return compare(
        arms[0],
        arms[1],
        resource=table.roles["resource"],
        quality=table.roles["quality"],
        floor=floor,
        mode=mode,
        at=tuple(at),
        draws=draws,
    )


def fit(
    runs: str | os.PathLike[str],
    *,
    law: str = "power-floor",
    arm: str | None = None,
    resource: str | None = None,
    parameters: str | None = None,
    tokens: str | None = None,
    quality: str | None = None,
    arm_column: str | None = None,
    objective: str | None = None,
    bootstrap: int = 1000,
    seed: int = 0,
) -> FittedLaw:
    """Fit a scaling law to anybody's run table; returns a `FittedLaw`. Raises `TableError` in one line."""
    from isoloss.laws import LAWS
    from isoloss.ledger.external import GUESSES, numeric, read_frame

    if law not in LAWS:
        raise UnknownNameError("--law", "law", law, LAWS)
    path = Path(runs)
    frame = read_frame(path)
    lower = {c.strip().lower(): c for c in reversed(frame.columns)}

    def column(role: str, told: str | None, guesses: Sequence[str]) -> str:
        if told is not None:
            if told not in frame.columns:
                raise TableError(path, f"has no column '{told}'", f"columns: {', '.join(frame.columns[:12])}")
            return told
        found = next((lower[g] for g in guesses if g in lower), None)
        if found is None:
            flag = f"--{role}"
            raise TableError(
                path, f"no column looks like {role}", f"name it with {flag}; columns: {', '.join(frame.columns[:12])}"
            )
        return found

    if arm is not None:
        name = column("arm-column", arm_column, GUESSES["arm"])
        names = [str(v) for v in frame[name].unique(maintain_order=True)]
        if arm not in names:
            raise UnknownNameError(f"{path}: {name}", "arm", arm, names)
        frame = frame.filter(frame[name].cast(str) == arm)
    loss = numeric(path, frame, column("quality", quality, GUESSES["quality"]))
    if law == "chinchilla":
        wanted = {
            "N": column("parameters", parameters, PARAMETER_NAMES),
            "D": column("tokens", tokens, TOKEN_NAMES),
        }
    else:
        wanted = {"C": column("resource", resource, GUESSES["resource"])}
    columns = {k: numeric(path, frame, v) for k, v in wanted.items()}
    extra = {} if objective is None else {"objective": objective}
    return LAWS[law](columns, loss, bootstrap=bootstrap, seed=seed, **extra)


def plan(
    path: str | os.PathLike[str], *, ledger: str | None = None, workers: int | None = None, timing: bool = True
) -> PlanSummary:
    """What `run` would do, its price, and the smallest gain it can resolve.

    Minutes come from runs in the ledger; with `timing`, an arm and rung not in it is timed on a few dozen steps.
    """
    from isoloss.execution.timing import seconds_of
    from isoloss.execution.worker import use_one_thread
    from isoloss.ledger.store import Ledger
    from isoloss.ledger.table import RunTable
    from isoloss.planning.price import ahead, known_seconds, samples, summarise

    study, url = open_study(path).study, ledger_url(ledger)
    table = RunTable.empty()
    if "://" in url or Path(url).exists():
        store = Ledger(url, create=False)
        try:
            table = store.table(study)
        finally:
            store.close()
    seconds = known_seconds(table)
    if timing:
        use_one_thread()
        for cell, runs in samples(study, ahead(study, table)[1]).items():
            if cell not in seconds:
                seconds[cell] = sum(seconds_of(run) for run in runs) / len(runs)
    return summarise(study, table, seconds, workers or os.cpu_count() or 1)


def status(path: str | os.PathLike[str] | None = None, *, ledger: str | None = None) -> list[dict[str, Any]]:
    """Of each study in the ledger (or the one in `path`): name, path, runs and FLOPs by status, seconds spent."""
    from isoloss.ledger.store import Ledger

    store = Ledger(ledger_url(ledger), create=False)
    try:
        wanted = open_study(path).study.study_id if path is not None else None
        rows = []
        for filed in store.studies():
            if wanted is not None and filed["study_id"] != wanted:
                continue
            progress = store.progress_of(filed["study_id"])
            rows.append(
                {
                    "study": filed["name"],
                    "study_id": filed["study_id"],
                    "path": filed["path"],
                    "opened": filed["opened"],
                    "runs": {s: n for s, (n, _) in progress.items()},
                    "flops": {s: f for s, (_, f) in progress.items()},
                    "errors": store.errors_of(filed["study_id"]),
                }
            )
        if wanted is not None and not rows:
            raise StudyError(path, f"has no runs in the ledger {store.name}", f"isoloss run {path}")
        return rows
    finally:
        store.close()


def known(kind: str) -> list[dict[str, Any]]:
    """What there is of `kind`: algorithms, tasks, laws or resources, as rows for a table."""
    if kind in ("algorithms", "tasks"):
        from isoloss.algorithms import algorithms
        from isoloss.tasks import tasks

        registry: Any = algorithms if kind == "algorithms" else tasks
        rows = []
        for name in registry.names():
            try:
                card = registry.get(name).card
                rows.append({"name": name, "year": card.year, "summary": card.summary, "source": card.source})
            except MissingError as error:
                rows.append({"name": name, "year": None, "summary": f"({error.remedy})", "source": ""})
        return rows
    if kind == "laws":
        from isoloss.laws import LAWS

        return [{"name": n, "summary": (f.__doc__ or "").strip().splitlines()[0]} for n, f in LAWS.items()]
    if kind == "resources":
        from isoloss.runs import RESOURCES

        return [{"name": n, "unit": u, "summary": s} for n, (u, s) in RESOURCES.items()]
    if kind == "studies":
        return _studies()
    raise UnknownNameError("list", "kind", kind, ("algorithms", "tasks", "laws", "resources", "studies"))


def _studies() -> list[dict[str, Any]]:
    rows = []
    for path in sorted(Path("studies").rglob("*.toml")) if Path("studies").is_dir() else []:
        try:
            study, _ = read_study(path)
            rows.append({"name": str(path), "summary": study.question})
        except StudyError as error:
            rows.append({"name": str(path), "summary": f"broken: {error}"})
    return rows


def versions() -> str:
    """One line for bug reports."""
    from isoloss import __version__

    return f"isoloss {__version__}, Python {platform.python_version()}, {sys.platform}"


def gain_json(curve: GainCurve) -> dict[str, Any]:
    """The answer of ``isoloss gain --json``: gains by index, slope, crossover, verdict, diagnostics, laws.

    With budgets asked for, ``gains`` holds those; without, the gain at every rung.
    """
    from isoloss.gains.result import to_json

    shown = curve.asked or curve.points
    keep = ("at", "gain", "interval", "region", "quality", "decades_out", "note")
    gains: dict[str, list[Any]] = {}
    for point in shown:
        row = to_json(point)
        gains.setdefault(point.index, []).append({k: row[k] for k in keep if row[k] not in ("", None) or k == "gain"})
    whole = to_json(curve)
    rest = ("overlap", "laws", "floors", "slopes", "rungs", "level", "draws", "seed", "mode")
    return {
        "baseline": curve.baseline,
        "candidate": curve.candidate,
        "resource": curve.resource,
        "quality": curve.quality,
        "gains": gains,
        "slope": whole["slope"],
        "crossover": whole["crossover"],
        "verdict": whole["verdict"],
        "diagnostics": whole["diagnostics"],
        **{k: whole[k] for k in rest},
    }


def law_json(fitted: FittedLaw) -> dict[str, Any]:
    """The answer of ``isoloss fit --json``: parameters with 95% intervals, objective, diagnostics."""
    from isoloss.gains.result import to_json

    return {
        "law": fitted.name,
        "parameters": {
            name: to_json({"value": float(value), "interval": fitted.interval(name)})
            for name, value in fitted.params.items()
        },
        "objective": float(fitted.objective),
        "diagnostics": to_json(fitted.diagnostics),
    }
