"""The verbs over anybody's run table: gain, next, import, fetch, reproduce."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from isoloss.cli.flags import (
    ArmFlag,
    BaselineFlag,
    BestFlag,
    BestOfFlag,
    FloorFlag,
    JsonFlag,
    LedgerFlag,
    Mode,
    Points,
    QualityFlag,
    ResourceFlag,
    RungFlag,
    RunsPath,
    SeedFlag,
    Target,
    WhereFlag,
)
from isoloss.cli.frame import app, errors, print_json, screen
from isoloss.cli.parse import floor_of
from isoloss.errors import IsolossError


@app.command()
def gain(
    runs: RunsPath,
    baseline: BaselineFlag,
    candidate: Annotated[
        str, typer.Option("--candidate", "-c", help="The arm that may be better.", show_default=False)
    ],
    resource: ResourceFlag = None,
    quality: QualityFlag = None,
    arm_column: ArmFlag = None,
    seed_column: SeedFlag = None,
    rung_column: RungFlag = None,
    where: WhereFlag = None,
    best_of: BestOfFlag = None,
    curves: Annotated[
        Points | None, typer.Option(help="Rows are logged points: take each run's end, or (at your peril) all.")
    ] = None,
    floor: FloorFlag = "shared",
    mode: Annotated[
        Mode, typer.Option(help="curve: along a ladder; frontier: Pareto; exact: equal by construction.")
    ] = Mode.curve,
    best: BestFlag = None,
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
        floor=floor_of(floor),
        mode=mode.value,
        best=best,
        at=at or (),
    )
    if as_json:
        print_json(api.gain_json(curve))
        return
    taken = [d for d in curve.diagnostics if d.code == "columns"]
    for note in taken:
        screen().print(Text(note.message, style="dim"), soft_wrap=True)
    print_gain(replace(curve, diagnostics=tuple(d for d in curve.diagnostics if d not in taken)), screen())


@app.command("next")
def next_(
    runs: Annotated[Path, typer.Argument(help="Finished runs, as `isoloss gain` reads them, or a study file (TOML).")],
    baseline: Annotated[str | None, typer.Option("--baseline", "-b", help="The arm to improve on.")] = None,
    candidate: Annotated[str | None, typer.Option("--candidate", "-c", help="The arm that may be better.")] = None,
    target: Annotated[Target, typer.Option(help="What to settle.")] = Target.both,
    spend: Annotated[
        float | None, typer.Option(help="At most this much, in the unit of costs; default: until it is likely settled.")
    ] = None,
    budget: Annotated[
        list[float] | None, typer.Option(help="Also consider this budget (may be repeated; default: a few new rungs).")
    ] = None,
    most: Annotated[int, typer.Option(min=1, max=1000, help="At most so many runs.")] = 64,
    resource: ResourceFlag = None,
    quality: QualityFlag = None,
    arm_column: ArmFlag = None,
    seed_column: SeedFlag = None,
    rung_column: RungFlag = None,
    where: WhereFlag = None,
    best_of: BestOfFlag = None,
    best: BestFlag = None,
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
        floor=None if floor is None else floor_of(floor),
        ledger=ledger,
    )
    print_json(api.next_json(found)) if as_json else print_next(found, screen())


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
        print_json(rows) if as_json else print_list(brief, screen())
        return
    with Progress(console=errors(), transient=True, disable=not sys.stderr.isatty()) as bar:
        task = bar.add_task(name, total=None)
        found = api.fetch(name, progress=lambda done, total: bar.update(task, completed=done, total=total))
    said = api.fetched_json(found)
    if as_json:
        print_json(said)
        return
    absent = [f"not fetched: {file}, made from {origin}" for file, origin in said["absent"].items()]
    counted = f"{len(said['files'])} files, {said['downloaded']} downloaded, SHA-256 of all as pinned"
    lines = [f"{said['title']}: {said['about']}", f"{said['paper']}; {said['origin']}; licence: {said['licence']}"]
    for line in (*lines, counted, *absent):
        errors().print(Text(line), soft_wrap=True)
    screen().print(Text(said["folder"]), soft_wrap=True)


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
        print_json(rows) if as_json else print_list([{**r, "tables": ", ".join(r["tables"])} for r in rows], screen())
        return
    names = [name] if name is not None else [r["name"] for r in api.reproducible()]
    found = []
    for each in names:
        one = api.reproduce(each, table=table)
        found.append(api.reproduction_json(one))
        if not as_json:
            print_reproduction(one, screen())
    if as_json:
        print_json(found[0] if name is not None else found)
