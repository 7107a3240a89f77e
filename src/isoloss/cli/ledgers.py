"""The verbs over whole ledgers: export, import, verify, rescue, prune."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.text import Text

from isoloss.cli.flags import ArmFlag, JsonFlag, LedgerFlag, Points, QualityFlag, WhereFlag
from isoloss.cli.frame import app, errors, print_json, screen
from isoloss.errors import IsolossError

#: Lines of faults that are printed; ``--json`` gives all.
_SHOWN = 50


@contextmanager
def _bar() -> Iterator[Callable[[str, int, int], None]]:
    """A progress bar on a terminal: told what, done, whole."""
    from rich.progress import Progress

    with Progress(console=errors(), transient=True, disable=not sys.stderr.isatty()) as bar:
        tasks: dict[str, Any] = {}

        def told(what: str, done: int, whole: int) -> None:
            if what not in tasks:
                tasks[what] = bar.add_task(what, total=whole)
            bar.update(tasks[what], completed=done, total=whole)

        yield told


def _line(text: str, style: str = "") -> None:
    from isoloss.errors import printable

    screen().print(Text(printable(text), style=style), soft_wrap=True)


def _count(count: int, what: str) -> str:
    return f"{count:,} {what}{'' if count == 1 else 's'}"


def _studies(count: int, kind: str = "") -> str:
    return f"{count:,} {kind}{'study' if count == 1 else 'studies'}"


@app.command()
def export(
    studies: Annotated[
        list[str] | None,
        typer.Argument(help="Studies to export: names, ids or files. Default: all.", show_default=False),
    ] = None,
    out: Annotated[Path, typer.Option("--out", help="The bundle to write, a new folder.", show_default=False)] = ...,  # type: ignore[assignment]
    ledger: LedgerFlag = None,
    as_json: JsonFlag = False,
) -> None:
    """Write a ledger, or some of its studies, as a bundle that any other ledger takes in with isoloss import.

    A bundle is a folder of Parquet files, curves inside, with the SHA-256 of each. Example, from SQLite to PostgreSQL:

        isoloss export --out bundle && isoloss import bundle --ledger postgresql://USER@HOST/DATABASE
    """
    from isoloss import api

    with _bar() as told:
        done = api.export_bundle(out, studies or (), ledger=ledger, told=told)
    if as_json:
        print_json(done)
        return
    rows, altered = done["rows"], done["altered"]
    _line(f"{done['bundle']}: {_count(rows['runs'], 'run')} of {_studies(rows['studies'])}, from {done['ledger']}")
    for run_id in altered[:_SHOWN]:
        _line(f"  run {run_id}: its record does not match its digest", "yellow")
    if altered:
        more = f"{len(altered):,} in all; " if len(altered) > _SHOWN else ""
        _line(f"  {more}isoloss import refuses this bundle: see isoloss verify {done['ledger']}", "yellow")


@app.command("import")
def import_(
    paths: Annotated[
        list[Path],
        typer.Argument(help="Bundles of isoloss export; with --out, one path of anybody's runs.", show_default=False),
    ],
    out: Annotated[
        Path | None, typer.Option("--out", help="Write one table instead, .csv or .parquet.", show_default=False)
    ] = None,
    ledger: LedgerFlag = None,
    where: WhereFlag = None,
    curves: Annotated[Points | None, typer.Option(help="Rows are logged points: take each run's end, or all.")] = None,
    arm_column: ArmFlag = None,
    resource: Annotated[str | None, typer.Option(help="Column of the resource.")] = None,
    quality: QualityFlag = None,
    as_json: JsonFlag = False,
) -> None:
    """Take bundles of other ledgers into this one; with --out, write anybody's runs to one table, a finished run a row.

    Examples:

        isoloss import from-ada from-bob --ledger ours.sqlite

        isoloss import wandb/ --out runs.csv
    """
    if out is not None:
        if len(paths) != 1:
            raise IsolossError("--out", f"is for one path of runs, and {len(paths)} are given", "import one at a time")
        _to_table(paths[0], out, where, curves, arm_column, resource, quality, as_json)
        return
    from isoloss import api
    from isoloss.ledger.bundle import is_bundle

    for path in paths:
        if path.exists() and not is_bundle(path):
            raise IsolossError(
                path, "is no bundle of isoloss export", "to write anybody's runs to one table, give --out"
            )
    options = {
        "--where": where,
        "--curves": curves,
        "--arm-column": arm_column,
        "--resource": resource,
        "--quality": quality,
    }
    if given := [flag for flag, value in options.items() if value]:
        raise IsolossError(given[0], "does nothing to a bundle", "leave it out, or give --out")
    with _bar() as told:
        done = api.import_bundles(paths, ledger=ledger, told=told)
    if as_json:
        print_json(done)
        return
    for one in done:
        runs = f"{_count(one['new'], 'new run')}, {_count(one['records'], 'new record')}, {one['known']:,} known"
        _line(f"{one['bundle']} into {one['ledger']}: {runs}; {_studies(one['studies'], 'new ')}")
        for conflict in one["conflicts"][:_SHOWN]:
            both = f"run {conflict['run_id']} has two records, whose qualities {conflict['qualities']}"
            _line(f"  {both}: {conflict['stayed']}", "dim")
        if len(one["conflicts"]) > _SHOWN:
            _line(f"  and {len(one['conflicts']) - _SHOWN:,} more; --json lists all", "dim")


def _to_table(
    path: Path,
    out: Path,
    where: list[str] | None,
    curves: Points | None,
    arm_column: str | None,
    resource: str | None,
    quality: str | None,
    as_json: bool,
) -> None:
    from isoloss import api

    points: Any = None if curves is None else curves.value
    told = {"arm_column": arm_column, "resource": resource, "quality": quality}
    done = api.import_runs(path, out, where=where or (), curves=points, **told)
    if as_json:
        print_json(done)
        return
    for note in done["notes"]:
        screen().print(Text(f"{note['severity']} {note['code']}  {note['message']}", style="dim"), soft_wrap=True)
    _line(f"{done['out']}: {done['rows']:,} runs, {len(done['columns'])} columns")


@app.command()
def verify(
    what: Annotated[
        str | None, typer.Argument(help="A ledger (file or URL) or a bundle. Default: the ledger.", show_default=False)
    ] = None,
    ledger: LedgerFlag = None,
    as_json: JsonFlag = False,
) -> None:
    """Name every altered record of a ledger or bundle: run id and what does not match. Exit code 1 if there is one."""
    from isoloss import api

    if what and ledger:
        raise IsolossError("--ledger", f"is given, and {what} too", "verify one at a time")
    with _bar() as told:
        done = api.verify(what or ledger, told=told)
    if as_json:
        print_json(done)
    else:
        for fault in done["faults"][:_SHOWN]:
            _line(f"{fault['kind']} {fault['id']}: {fault['fault']}")
        count = len(done["faults"])
        if count > _SHOWN:
            _line(f"and {count - _SHOWN:,} more; --json lists all", "dim")
        said = _count(count, "fault") if count else "nothing is altered"
        _line(f"{done['name']}: {_count(done['runs'], 'run')} checked, {said}")
    if done["faults"]:
        raise typer.Exit(1)


@app.command()
def rescue(
    ledger: Annotated[Path, typer.Argument(help="The damaged ledger, an SQLite file.", show_default=False)],
    out: Annotated[Path, typer.Option("--out", help="The ledger to write, a new file.", show_default=False)],
    as_json: JsonFlag = False,
) -> None:
    """Save what can still be read of a damaged ledger file to a new ledger; a copy of the damaged one is kept.

    Rows are read from the file's pages one by one, and a record is taken only where its digest holds.
    """
    from isoloss import api

    with errors().status("reading") as shown:
        done = api.rescue(ledger, out, told=lambda said: shown.update(said))
    if as_json:
        print_json(done)
        return
    _line(f"{done['out']}: {done['runs']:,} of {done['known']:,} runs saved, {done['ended']:,} with their records")
    places = f"{_studies(done['studies'])}, {_count(done['members'], 'place')} of runs"
    _line(f"{places}; {done['refused']:,} of the runs are damaged")
    _line(f"The damaged file is copied to {done['backup']}. What is missing is trained again by isoloss run.", "dim")


@app.command()
def prune(
    studies: Annotated[
        list[str] | None,
        typer.Argument(help="Studies to drop: names, ids or files. Default: none.", show_default=False),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Remove it. Without, it is only shown.")] = False,
    ledger: LedgerFlag = None,
    as_json: JsonFlag = False,
) -> None:
    """Show what no study needs, and with --yes remove it: runs without a study, spent checkpoints, old backups.

    Studies that are named go too, with the runs that no other study has. A finished run of a study that stays is never
    removed, nor one that is being trained.
    """
    from isoloss import api

    done = api.prune(studies or (), ledger=ledger, yes=yes)
    if as_json:
        print_json(done)
        return
    for one in done["removals"]:
        size = f", {one['bytes'] / 1e6:,.2f} MB" if one["bytes"] else ""
        _line(f"{one['what']}: {one['count']:,}{size}")
    if not done["removals"]:
        _line(f"{done['ledger']}: there is nothing to remove")
    elif done["removed"]:
        _line(f"{done['ledger']}: removed, {done['freed'] / 1e6:,.2f} MB came free")
    else:
        _line("Nothing is removed yet: give --yes.", "dim")
