"""The command line: parse, call, print. Every verb is a function of `isoloss.api`."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.text import Text

from isoloss import __version__
from isoloss.errors import IsolossError
from isoloss.usage import usage_error

app = typer.Typer(
    name="isoloss",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
    help=(
        "How many times less of a resource does a new learning algorithm need to match an old one, "
        "how sure are we, and does the gain hold with scale?\n\n"
        "Start with [bold]isoloss run studies/quickstart.toml[/], or bring your own runs: "
        "[bold]isoloss gain runs.csv --baseline A --candidate B[/]."
    ),
)

StudyPath = Annotated[Path, typer.Argument(help="A study file (TOML).", show_default=False)]
LedgerFlag = Annotated[
    str | None,
    typer.Option("--ledger", help="The run database: a file, or a URL. Default: $ISOLOSS_LEDGER, else isoloss.sqlite."),
]
RunsPath = Annotated[
    Path,
    typer.Argument(
        help="Finished runs: CSV, Parquet, JSON lines, a folder of curve CSVs, W&B, MLflow or TensorBoard runs.",
        show_default=False,
    ),
]
WhereFlag = Annotated[
    list[str] | None,
    typer.Option("--where", help="Keep rows with column=value (repeatable; * matches any text)."),
]
JsonFlag = Annotated[bool, typer.Option("--json", help="Print machine-readable JSON instead of text.")]
OutFlag = Annotated[Path, typer.Option("--out", help="Folder for reports; each study gets a folder in it.")]
WorkersFlag = Annotated[
    int | None, typer.Option("--workers", "-j", min=1, help="Worker processes, one thread each. Default: one a core.")
]


class _Engine(StrEnum):
    local = "local"


class _Kind(StrEnum):
    algorithms = "algorithms"
    tasks = "tasks"
    laws = "laws"
    resources = "resources"
    studies = "studies"
    evidence = "evidence"


class _Composition(StrEnum):
    as_published = "as-published"
    old = "old"
    new = "new"


class _Points(StrEnum):
    end = "end"
    all = "all"


class _Target(StrEnum):
    level = "level"
    trend = "trend"
    both = "both"


class _Mode(StrEnum):
    curve = "curve"
    frontier = "frontier"
    exact = "exact"


class _Shape(StrEnum):
    parabola = "parabola"
    cubic = "cubic"
    akima = "akima"


def _out() -> Console:
    return Console(highlight=False)


def _err() -> Console:
    return Console(stderr=True, highlight=False)


def _print_json(value: Any) -> None:
    typer.echo(json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False))


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"isoloss {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and stop.")
    ] = False,
) -> None:
    pass


@app.command()
def run(
    study: StudyPath,
    workers: WorkersFlag = None,
    engine: Annotated[_Engine, typer.Option(help="Where runs run.")] = _Engine.local,
    ledger: LedgerFlag = None,
    out: OutFlag = Path("reports"),
    as_json: JsonFlag = False,
) -> None:
    """Run a study to its verdict and write its report page.

    Stop it at any moment and run it again: finished runs are kept and never trained twice. Two of these commands on
    one ledger share the work.
    """
    from isoloss import api
    from isoloss.gains.result import to_json
    from isoloss.report import print_result
    from isoloss.report.live import LiveProgress

    try:
        with LiveProgress(_err()) as live:
            result, page = api.run(study, workers=workers, engine=engine.value, ledger=ledger, out=out, observer=live)
    except KeyboardInterrupt:  # caught here: typer would call it "Aborted"
        _err().print("\nisoloss: stopped. Finished runs are kept; the same command goes on from there.")
        raise typer.Exit(130) from None
    if as_json:
        _print_json(to_json(result))
    else:
        print_result(result, _out())
        _out().print(f"\nReport: [bold]{escape(str(page))}[/]", soft_wrap=True)
    if not result.comparisons or result.counts.get("failed"):
        raise typer.Exit(1)


@app.command()
def plan(
    study: StudyPath,
    ledger: LedgerFlag = None,
    workers: WorkersFlag = None,
    timing: Annotated[
        bool,
        typer.Option("--timing/--no-timing", help="Time a seconds-long run of each algorithm not yet in the ledger."),
    ] = True,
    as_json: JsonFlag = False,
) -> None:
    """Show what a study would run: rounds, FLOPs, minutes, and the smallest gain it can resolve."""
    from isoloss import api
    from isoloss.gains.result import to_json
    from isoloss.report.plans import print_plan

    summary = api.plan(study, ledger=ledger, workers=workers, timing=timing)
    _print_json(to_json(summary)) if as_json else print_plan(summary, _out())


@app.command()
def gain(
    runs: RunsPath,
    baseline: Annotated[str, typer.Option("--baseline", "-b", help="The arm to improve on.", show_default=False)],
    candidate: Annotated[
        str, typer.Option("--candidate", "-c", help="The arm that may be better.", show_default=False)
    ],
    resource: Annotated[
        str | None, typer.Option(help="Column of the resource that is scaled (FLOPs, tokens, ...).")
    ] = None,
    quality: Annotated[str | None, typer.Option(help="Column of the quality reached (loss, error, ...).")] = None,
    arm_column: Annotated[str | None, typer.Option(help="Column that names the arm.")] = None,
    seed_column: Annotated[
        str | None, typer.Option(help="Column of seeds; equal seeds of two arms are paired.")
    ] = None,
    rung_column: Annotated[
        str | None, typer.Option(help="Column of planned budgets; default: grouped by resource.")
    ] = None,
    where: WhereFlag = None,
    best_of: Annotated[
        list[str] | None,
        typer.Option(help="Column of a sweep: take the value with the best mean per arm and budget (repeatable)."),
    ] = None,
    curves: Annotated[
        _Points | None, typer.Option(help="Rows are logged points: take each run's end, or (at your peril) all.")
    ] = None,
    floor: Annotated[str, typer.Option(help="Irreducible quality: shared, free, or a number to pin it.")] = "shared",
    mode: Annotated[
        _Mode, typer.Option(help="curve: along a ladder; frontier: Pareto; exact: equal by construction.")
    ] = _Mode.curve,
    best: Annotated[
        float | None, typer.Option(help="Quality is a score (higher is better) with this best value: 1 for accuracy.")
    ] = None,
    at: Annotated[list[float] | None, typer.Option(help="Also give the gain at this budget (may be repeated).")] = None,
    as_json: JsonFlag = False,
) -> None:
    """Measure the gain between two arms of anybody's runs.

    Columns that are not named are guessed from their names. Example:

        isoloss gain runs.csv --baseline adamw --candidate muon --at 1e18
    """
    from isoloss import api
    from isoloss.report import print_gain

    curve = api.gain(
        runs,
        baseline,
        candidate,
        resource=resource,
        quality=quality,
        arm_column=arm_column,
        seed_column=seed_column,
        rung_column=rung_column,
        where=where or (),
        best_of=best_of or (),
        curves=None if curves is None else curves.value,
        floor=_floor(floor),
        mode=mode.value,
        best=best,
        at=at or (),
    )
    if as_json:
        _print_json(api.gain_json(curve))
        return
    taken = [d for d in curve.diagnostics if d.code == "columns"]
    for note in taken:
        _out().print(Text(note.message, style="dim"), soft_wrap=True)
    print_gain(replace(curve, diagnostics=tuple(d for d in curve.diagnostics if d not in taken)), _out())


@app.command()
def fit(
    runs: Annotated[Path, typer.Argument(help="A table of finished runs, one a row.", show_default=False)],
    law: Annotated[
        str, typer.Option(help='A law (see `isoloss list laws`), a formula ("E + A*C**-alpha"), or a Python file.')
    ] = "power-floor",
    arm: Annotated[str | None, typer.Option(help="Only runs of this arm.")] = None,
    pool: Annotated[bool, typer.Option("--pool", help="One law for the runs of all arms together.")] = False,
    share: Annotated[str, typer.Option(help="Parameters that all arms have in common: E, or E,alpha.")] = "",
    pin: Annotated[list[str] | None, typer.Option(help="Hold a parameter: E=1.8 (may be repeated).")] = None,
    resource: Annotated[str | None, typer.Option(help="Column of the resource (laws of one variable).")] = None,
    parameters: Annotated[str | None, typer.Option(help="Column of parameter counts, N.")] = None,
    tokens: Annotated[str | None, typer.Option(help="Column of training tokens, D.")] = None,
    column: Annotated[
        list[str] | None, typer.Option(help="Column for one of the law's: experts=NumExperts (may be repeated).")
    ] = None,
    quality: Annotated[str | None, typer.Option(help="Column of the loss.")] = None,
    arm_column: Annotated[str | None, typer.Option(help="Column that names the arm.")] = None,
    cluster_column: Annotated[
        str | None, typer.Option(help="Column of what is resampled whole: runs that share a trunk.")
    ] = None,
    where: Annotated[list[str] | None, typer.Option(help="Keep rows with column=value (may be repeated).")] = None,
    objective: Annotated[
        str | None, typer.Option(help="squared, squared-log, huber or huber-log. Default: the law's own.")
    ] = None,
    delta: Annotated[float | None, typer.Option(help="Threshold of Huber's loss. Default: 0.001.")] = None,
    resample: Annotated[
        str, typer.Option(help="How draws are made: auto, pairs, wild, parametric, posterior or none.")
    ] = "auto",
    noise: Annotated[
        str, typer.Option(help="constant, or components: a seed part and --eval-sd, estimated.")
    ] = "constant",
    eval_sd: Annotated[str | None, typer.Option(help="Column of standard errors of the loss.")] = None,
    at: Annotated[
        list[str] | None, typer.Option(help="Predict the loss there: 1e20, or N=1e9,D=2e10 (may be repeated).")
    ] = None,
    profile: Annotated[str | None, typer.Option(help="Likelihood interval of one parameter: E.")] = None,
    bootstrap: Annotated[int, typer.Option(min=0, max=100_000, help="Resamples for the intervals.")] = 1000,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the resampling.")] = 0,
    as_json: JsonFlag = False,
) -> None:
    """Fit a scaling law to anybody's runs, with intervals.

    A table of several arms is fitted arm by arm, side by side. Examples:

        isoloss fit runs.csv --law chinchilla --bootstrap 4000

        isoloss fit runs.csv --arm-column optimizer --share E

        isoloss fit runs.csv --law power-floor,broken --at 1e20
    """
    from isoloss import api
    from isoloss.report.laws import print_law

    fitted = api.fit(
        runs,
        law=law,
        arm=arm,
        pool=pool,
        share=[s.strip() for s in share.split(",") if s.strip()],
        pin={k: _number("--pin", k, v) for k, v in _pairs("--pin", pin, "E=1.8").items()},
        resource=resource,
        parameters=parameters,
        tokens=tokens,
        columns=_pairs("--column", column, "N=params"),
        quality=quality,
        arm_column=arm_column,
        cluster_column=cluster_column,
        where=where or (),
        objective=objective,
        delta=delta,
        resample=resample,
        noise=noise,
        eval_sd=eval_sd,
        at=at or (),
        profile=profile,
        bootstrap=bootstrap,
        seed=seed,
    )
    _print_json(api.law_json(fitted)) if as_json else print_law(fitted, _out())


def _pairs(flag: str, given: list[str] | None, example: str) -> dict[str, str]:
    """``name=value`` options as a mapping."""
    pairs = {}
    for text in given or ():
        name, sign, value = text.partition("=")
        if not sign or not name.strip() or not value.strip():
            raise IsolossError(flag, f"'{text[:40]}' is not name=value", f"such as {flag} {example}")
        pairs[name.strip()] = value.strip()
    return pairs


def _number(flag: str, name: str, text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise IsolossError(f"{flag} {name}", f"'{text[:40]}' is not a number", "such as 1.8") from None


@app.command("import")
def import_(
    runs: RunsPath,
    out: Annotated[Path, typer.Option("--out", help="The table to write, .csv or .parquet.", show_default=False)],
    where: WhereFlag = None,
    curves: Annotated[_Points | None, typer.Option(help="Rows are logged points: take each run's end, or all.")] = None,
    arm_column: Annotated[str | None, typer.Option(help="Column that names the arm.")] = None,
    resource: Annotated[str | None, typer.Option(help="Column of the resource.")] = None,
    quality: Annotated[str | None, typer.Option(help="Column of the quality reached.")] = None,
    as_json: JsonFlag = False,
) -> None:
    """Write anybody's runs, whatever they lie in, to one table with one finished run a row."""
    from isoloss import api

    points: Any = None if curves is None else curves.value
    told = {"arm_column": arm_column, "resource": resource, "quality": quality}
    done = api.import_runs(runs, out, where=where or (), curves=points, **told)
    if as_json:
        _print_json(done)
        return
    for note in done["notes"]:
        _out().print(Text(f"{note['severity']} {note['code']}  {note['message']}", style="dim"), soft_wrap=True)
    _out().print(Text(f"{done['out']}: {done['rows']:,} runs, {len(done['columns'])} columns"), soft_wrap=True)


@app.command()
def fetch(
    name: Annotated[str | None, typer.Argument(help="A public run table.", show_default=False)] = None,
    list_tables: Annotated[bool, typer.Option("--list", help="List the tables that can be named.")] = False,
    as_json: JsonFlag = False,
) -> None:
    """Bring a public run table here, at a pinned commit, every file checked by its SHA-256; print its folder.

    Looked for in $ISOLOSS_DATA first (else in your cache folder), then on GitHub.
    """
    from rich.progress import Progress

    from isoloss import api
    from isoloss.report.plans import print_list

    if list_tables or name is None:
        rows = api.fetchable()
        brief = [{"name": r["name"], "summary": r["title"], "licence": r["licence"], "paper": r["paper"]} for r in rows]
        _print_json(rows) if as_json else print_list(brief, _out())
        return
    with Progress(console=_err(), transient=True, disable=not sys.stderr.isatty()) as bar:
        task = bar.add_task(name, total=None)
        found = api.fetch(name, progress=lambda done, total: bar.update(task, completed=done, total=total))
    said = api.fetched_json(found)
    if as_json:
        _print_json(said)
        return
    absent = [f"not fetched: {file}, made from {origin}" for file, origin in said["absent"].items()]
    counted = f"{len(said['files'])} files, {said['downloaded']} downloaded, SHA-256 of all as pinned"
    lines = [f"{said['title']}: {said['about']}", f"{said['paper']}; {said['origin']}; licence: {said['licence']}"]
    for line in (*lines, counted, *absent):
        _err().print(Text(line), soft_wrap=True)
    _out().print(Text(said["folder"]), soft_wrap=True)


@app.command()
def reproduce(
    name: Annotated[str | None, typer.Argument(help="A third-party table (see --list).", show_default=False)] = None,
    table: Annotated[
        Path | None, typer.Option(help="Folder of its files. Default: where `isoloss fetch` puts it.")
    ] = None,
    list_tables: Annotated[bool, typer.Option("--list", help="List the tables that can be named.")] = False,
    every: Annotated[bool, typer.Option("--all", help="All of them, one after another.")] = False,
    as_json: JsonFlag = False,
) -> None:
    """Set what was published about a public table beside what isoloss makes of the same rows, with intervals.

    Examples:

        isoloss reproduce besiroglu

        isoloss reproduce --all
    """
    from isoloss import api
    from isoloss.report.plans import print_list
    from isoloss.report.reproducing import print_reproduction

    if every and (name is not None or table is not None):
        raise IsolossError("--all", "goes with neither a name nor --table", "leave one of them out")
    if list_tables or (name is None and not every):
        rows = api.reproducible()
        _print_json(rows) if as_json else print_list([{**r, "tables": ", ".join(r["tables"])} for r in rows], _out())
        return
    names = [name] if name is not None else [r["name"] for r in api.reproducible()]
    found = []
    for each in names:
        one = api.reproduce(each, table=table)
        found.append(api.reproduction_json(one))
        if not as_json:
            print_reproduction(one, _out())
    if as_json:
        _print_json(found[0] if name is not None else found)


@app.command()
def isoflop(
    runs: Annotated[Path, typer.Argument(help="A table of runs, or of points of training curves.", show_default=False)],
    compute: Annotated[str | None, typer.Option(help="Column of training FLOPs; default: 6 N D.")] = None,
    parameters: Annotated[str | None, typer.Option(help="Column of parameter counts.")] = None,
    tokens: Annotated[str | None, typer.Option(help="Column of training tokens.")] = None,
    quality: Annotated[str | None, typer.Option(help="Column of the loss.")] = None,
    budget: Annotated[str | None, typer.Option(help="Column of planned budgets; default: grouped by compute.")] = None,
    run: Annotated[str | None, typer.Option(help="Column that names the run, where one gives several rows.")] = None,
    where: Annotated[list[str] | None, typer.Option(help="Only rows that meet column=value (may be repeated).")] = None,
    approach: Annotated[int, typer.Option(min=1, max=2, help="2: profiles at equal compute; 1: envelope.")] = 2,
    shape: Annotated[_Shape, typer.Option(help="The curve through a profile.")] = _Shape.parabola,
    noise: Annotated[float | None, typer.Option(help="Standard deviation of a run's loss, where known.")] = None,
    width: Annotated[float | None, typer.Option(help="Use runs within this factor in N of the best size.")] = None,
    at: Annotated[
        list[float] | None, typer.Option(help="Also give N* and D* at this budget (may be repeated).")
    ] = None,
    bootstrap: Annotated[int, typer.Option(min=100, max=100_000, help="Resamples for the intervals.")] = 1000,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the resampling.")] = 0,
    as_json: JsonFlag = False,
) -> None:
    """How parameters and tokens should grow with compute: IsoFLOP profiles or envelopes, beside the parametric law."""
    from isoloss import api
    from isoloss.report.isoflop import print_isoflop

    check = api.isoflop(
        runs,
        compute=compute,
        parameters=parameters,
        tokens=tokens,
        quality=quality,
        budget=budget,
        run=run,
        where=where or (),
        approach=2 if approach == 2 else 1,
        shape=shape.value,
        noise=noise,
        width=width,
        at=at or (),
        bootstrap=bootstrap,
        seed=seed,
    )
    _print_json(api.isoflop_json(check)) if as_json else print_isoflop(check, _out())


ResourceFlag = Annotated[str | None, typer.Option(help="Column of the resource that is scaled (FLOPs, tokens, ...).")]
QualityFlag = Annotated[str | None, typer.Option(help="Column of the quality reached (loss, error, ...).")]
ArmFlag = Annotated[str | None, typer.Option("--arm-column", help="Column that names the arm.")]
SeedFlag = Annotated[str | None, typer.Option("--seed-column", help="Column of seeds; equal seeds are paired.")]
RungFlag = Annotated[
    str | None, typer.Option("--rung-column", help="Column of planned budgets; default: grouped by resource.")
]
BestFlag = Annotated[
    float | None, typer.Option(help="Quality is a score (higher is better) with this best value: 1 for accuracy.")
]


@app.command()
def chain(
    runs: RunsPath,
    arms: Annotated[
        str, typer.Option(help="Arms of the sequence, oldest first, separated by commas.", show_default=False)
    ],
    at: Annotated[list[float] | None, typer.Option(help="Budget to read the chain at (may be repeated).")] = None,
    floor: Annotated[str, typer.Option(help="Irreducible quality: shared, free, or a number to pin it.")] = "shared",
    budget_growth: Annotated[
        float | None, typer.Option(help="Yearly factor by which budgets grow: also give rates a year.")
    ] = None,
    resource: ResourceFlag = None,
    quality: QualityFlag = None,
    arm_column: ArmFlag = None,
    seed_column: SeedFlag = None,
    rung_column: RungFlag = None,
    best: BestFlag = None,
    where: WhereFlag = None,
    as_json: JsonFlag = False,
) -> None:
    """Compose the gains along a sequence of algorithms, and attribute the whole to its steps.

    The budget is carried over from step to step, under both indexes; a product of gains at one budget is shown beside,
    as published elsewhere. Example:

        isoloss chain runs.csv --arms lstm,retro,modern --at 1e17
    """
    from isoloss import api
    from isoloss.report.attribution import print_sequence

    found = api.chain(
        runs,
        _listed(arms),
        at=at or (),
        floor=_floor(floor),
        budget_growth=budget_growth,
        resource=resource,
        quality=quality,
        arm_column=arm_column,
        seed_column=seed_column,
        rung_column=rung_column,
        best=best,
        where=where or (),
    )
    _print_json(api.attribution_json(found)) if as_json else print_sequence(found, _out())


@app.command()
def attribute(
    runs: RunsPath,
    factors: Annotated[
        str,
        typer.Option(
            help="Switch columns (0 and 1), or column=value where that means on, separated by commas.",
            show_default=False,
        ),
    ],
    at_quality: Annotated[
        float | None, typer.Option(help="Compare at this quality. Default: the best that all settings reach.")
    ] = None,
    at: Annotated[float | None, typer.Option(help="Compare at this budget instead.")] = None,
    order: Annotated[
        int | None,
        typer.Option(min=1, help="Highest order of interaction. Default: all of a full factorial, else 2."),
    ] = None,
    resource: ResourceFlag = None,
    quality: QualityFlag = None,
    seed_column: SeedFlag = None,
    rung_column: RungFlag = None,
    best: BestFlag = None,
    where: WhereFlag = None,
    as_json: JsonFlag = False,
) -> None:
    """Say what each of several switches is worth, together and alone, from a factorial or one-at-a-time design.

    Effects are in log gain, so that gains multiply: alone (first in), last in, and the Shapley value between the two,
    with interactions and what the design can't tell apart. Example:

        isoloss attribute runs.csv --factors rope,swiglu,optimizer=adamw
    """
    from isoloss import api
    from isoloss.report.attribution import print_attribution

    found = api.attribute(
        runs,
        _listed(factors),
        at_quality=at_quality,
        at=at,
        order=order,
        resource=resource,
        quality=quality,
        seed_column=seed_column,
        rung_column=rung_column,
        best=best,
        where=where or (),
    )
    _print_json(api.attribution_json(found)) if as_json else print_attribution(found, _out())


@app.command()
def rank(
    runs: RunsPath,
    baseline: Annotated[str, typer.Option("--baseline", "-b", help="The arm to improve on.", show_default=False)],
    candidates: Annotated[
        str, typer.Option(help="Candidates, separated by commas. Default: all other arms.", show_default=False)
    ] = "",
    at: Annotated[
        float | None, typer.Option(help="The baseline's budget. Default: the largest where most are measured.")
    ] = None,
    resource: ResourceFlag = None,
    quality: QualityFlag = None,
    arm_column: ArmFlag = None,
    seed_column: SeedFlag = None,
    rung_column: RungFlag = None,
    best: BestFlag = None,
    where: WhereFlag = None,
    as_json: JsonFlag = False,
) -> None:
    """Compare many candidates with one baseline, corrected for how many were tried.

    Simultaneous intervals, p-values corrected by Holm and Benjamini-Hochberg, and what to expect of the winner on
    trying again. Example:

        isoloss rank runs.csv --baseline adamw --candidates muon,lion,soap
    """
    from isoloss import api
    from isoloss.report.attribution import print_ranking

    found = api.rank(
        runs,
        baseline,
        _listed(candidates),
        at=at,
        resource=resource,
        quality=quality,
        arm_column=arm_column,
        seed_column=seed_column,
        rung_column=rung_column,
        best=best,
        where=where or (),
    )
    _print_json(api.attribution_json(found)) if as_json else print_ranking(found, _out())


@app.command()
def origin(
    reference: Annotated[str, typer.Option(help="Seen from: lstm, kaplan, retro or dense.")] = "lstm",
    budget: Annotated[float, typer.Option(help="Training FLOP in the last year.")] = 2.26e23,
    years: Annotated[str, typer.Option(help="First and last year, FIRST:LAST.")] = "2013:2025",
    compute_growth: Annotated[float, typer.Option(help="Yearly factor by which budgets grow.")] = 4.1,
    index: Annotated[_Composition, typer.Option(help="Whose budget it is, or the product as published.")] = (
        _Composition.as_published
    ),
    add: Annotated[
        list[str] | None,
        typer.Option(help="Your own innovation: NAME=2.5 or NAME=FILE.csv of budget, gain (repeatable)."),
    ] = None,
    swiglu: Annotated[bool, typer.Option("--swiglu", help="Put back the factor that the stack left out.")] = False,
    moe: Annotated[float | None, typer.Option(help="Factor of mixture of experts. Default: 2, as published.")] = None,
    data: Annotated[
        Path | None, typer.Option(help="Folder of the authors' curves. Default: where `isoloss fetch` puts them.")
    ] = None,
    ho: Annotated[
        Path | None, typer.Option(help="A table of perplexity, year, parameters, tokens to refit Ho et al. 2024 to.")
    ] = None,
    out: OutFlag = Path("reports"),
    as_json: JsonFlag = False,
) -> None:
    """Where algorithmic progress came from: as published, under each index, with intervals, and your own what-if.

    Examples:

        isoloss origin

        isoloss origin --reference kaplan --budget 1e25 --years 2017:2027 --index new --add mine=gain.csv
    """
    from isoloss import api
    from isoloss.report.origin import print_origin

    with _err().status("reading the evidence"):
        found = api.origin(
            reference,
            budget,
            _span(years),
            compute_growth,
            index.value,
            add={
                name: _number_or_path(text) for name, text in _pairs("--add", add, "mine=2.5 or mine=gain.csv").items()
            },
            swiglu=swiglu,
            moe=moe,
            data=data,
            ho=ho,
        )
    if as_json:
        _print_json(api.origin_json(found))
        return
    print_origin(found, _out())
    page = api.origin_page(found, out)
    if page is not None:
        _out().print(f"\nReport: [bold]{escape(str(page))}[/]", soft_wrap=True)


@app.command("next")
def next_(
    runs: Annotated[Path, typer.Argument(help="Finished runs, as `isoloss gain` reads them, or a study file (TOML).")],
    baseline: Annotated[str | None, typer.Option("--baseline", "-b", help="The arm to improve on.")] = None,
    candidate: Annotated[str | None, typer.Option("--candidate", "-c", help="The arm that may be better.")] = None,
    target: Annotated[_Target, typer.Option(help="What to settle.")] = _Target.both,
    spend: Annotated[
        float | None, typer.Option(help="At most this much, in the unit of costs; default: until it is likely settled.")
    ] = None,
    budget: Annotated[
        list[float] | None, typer.Option(help="Also consider this budget (may be repeated; default: a few new rungs).")
    ] = None,
    most: Annotated[int, typer.Option(min=1, max=1000, help="At most so many runs.")] = 64,
    resource: Annotated[str | None, typer.Option(help="Column of the resource that is scaled.")] = None,
    quality: Annotated[str | None, typer.Option(help="Column of the quality reached.")] = None,
    arm_column: Annotated[str | None, typer.Option(help="Column that names the arm.")] = None,
    seed_column: Annotated[str | None, typer.Option(help="Column of seeds.")] = None,
    rung_column: Annotated[str | None, typer.Option(help="Column of planned budgets.")] = None,
    where: Annotated[
        list[str] | None, typer.Option(help="Keep rows with `column=value` (may be repeated: all must hold).")
    ] = None,
    best_of: Annotated[
        list[str] | None, typer.Option(help="Column of a sweep, of which the best setting is taken (may be repeated).")
    ] = None,
    best: Annotated[float | None, typer.Option(help="Quality is a score with this best value: 1 for accuracy.")] = None,
    floor: Annotated[str | None, typer.Option(help="Irreducible quality: shared, free, or a number.")] = None,
    ledger: LedgerFlag = None,
    as_json: JsonFlag = False,
) -> None:
    """Say which runs to buy next: those that settle the verdict for the least compute.

    isoloss next runs.csv --baseline adamw --candidate muon --spend 1e18

    isoloss next STUDY.toml
    """
    from isoloss import api
    from isoloss.report.nexts import print_next

    found = api.next_runs(
        runs,
        baseline,
        candidate,
        target=target.value,
        spend=spend,
        budgets=budget or (),
        most=most,
        resource=resource,
        quality=quality,
        arm_column=arm_column,
        seed_column=seed_column,
        rung_column=rung_column,
        where=where or (),
        best_of=best_of or (),
        best=best,
        floor=None if floor is None else _floor(floor),
        ledger=ledger,
    )
    _print_json(api.next_json(found)) if as_json else print_next(found, _out())


@app.command()
def status(
    study: Annotated[Path | None, typer.Argument(help="A study file; default: every study in the ledger.")] = None,
    ledger: LedgerFlag = None,
    as_json: JsonFlag = False,
) -> None:
    """Show what a ledger holds: runs finished, diverged, failed, running, queued."""
    from isoloss import api
    from isoloss.report.plans import print_status

    rows = api.status(study, ledger=ledger)
    _print_json(rows) if as_json else print_status(rows, _out())


@app.command()
def report(
    study: StudyPath, ledger: LedgerFlag = None, out: OutFlag = Path("reports"), as_json: JsonFlag = False
) -> None:
    """Rebuild a study's report page from its ledger, as far as it goes; trains nothing."""
    from isoloss import api
    from isoloss.gains.result import to_json

    result, page = api.report(study, ledger=ledger, out=out)
    if as_json:
        _print_json(to_json(result))
    else:
        _out().print(f"Report: [bold]{escape(str(page))}[/]", soft_wrap=True)


@app.command("list")
def list_(
    kind: Annotated[_Kind, typer.Argument(help="What to list.")] = _Kind.algorithms,
    as_json: JsonFlag = False,
) -> None:
    """List what can be named: algorithms, tasks, laws, resources, studies; or the published evidence that ships."""
    from isoloss import api
    from isoloss.report.plans import print_list

    rows = api.known(kind.value)
    _print_json(rows) if as_json else print_list(rows, _out())


def _span(text: str) -> tuple[int, int]:
    first, _, last = text.partition(":")
    try:
        return int(first), int(last)
    except ValueError:
        raise IsolossError("--years", f"'{text[:40]}' is no span of years", "write --years 2013:2025") from None


def _number_or_path(text: str) -> float | Path:
    try:
        return float(text)
    except ValueError:
        return Path(text)


def _listed(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def _floor(text: str) -> str | float:
    if text in ("shared", "free"):
        return text
    try:
        return float(text)
    except ValueError:
        raise IsolossError("--floor", f"'{text[:40]}' is not a floor", "give shared, free, or a number") from None


def main() -> None:
    """Entry point: bad input is one line on standard error and exit code 2."""
    try:
        try:
            # left to itself it boxes a usage error over several lines; an exit code comes back and isn't raised
            sys.exit(app(standalone_mode=False))
        except Exception as error:
            if not hasattr(error, "format_message"):  # a fault of the command line, not of what it names
                raise
            if type(error).__name__ == "NoArgsIsHelpError":  # the help has been shown
                sys.exit(2)
            raise usage_error(error) from None
    except IsolossError as error:
        Console(stderr=True, highlight=False, soft_wrap=True).print(f"[bold red]isoloss:[/] {escape(str(error))}")
        sys.exit(2)
    except typer.Abort:
        _err().print("isoloss: stopped.")
        sys.exit(130)
    except BrokenPipeError:
        sys.exit(141)
