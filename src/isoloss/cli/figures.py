"""The verb figure: one figure of a report as a file."""

from __future__ import annotations

from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from isoloss.cli.flags import JsonFlag, LedgerFlag
from isoloss.cli.frame import app, print_json, screen
from isoloss.errors import StudyError


class Index(StrEnum):
    """Whose budget a gain is read at."""

    old = "old"
    new = "new"


class Mode(StrEnum):
    """What a figure lies on."""

    light = "light"
    dark = "dark"


@app.command()
def figure(
    source: Annotated[
        Path, typer.Argument(help="A study file, a report folder or its result.json.", show_default=False)
    ],
    name: Annotated[
        str | None,
        typer.Option("--name", help="gain, quality, residuals, slope, ratios, overview or tuning."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="File to write: .pdf, .svg or .png. Default: NAME.pdf.")
    ] = None,
    comparison: Annotated[int, typer.Option("--comparison", "-k", help="Which comparison, from 1; see --list.")] = 1,
    index: Annotated[
        Index, typer.Option(help="Of a gain: by the baseline's budget (old) or the candidate's (new).")
    ] = Index.old,
    arm: Annotated[str | None, typer.Option("--arm", help="Of tuning: which arm. Default: the first.")] = None,
    choice: Annotated[str | None, typer.Option(help="Of tuning: which swept choice. Default: the first.")] = None,
    width: Annotated[
        str, typer.Option(help="single (3.25 in), double (6.75 in), or a length: 3.5in, 89mm, 252pt.")
    ] = "single",
    font: Annotated[str | None, typer.Option(help="A font family to set it in, such as 'Liberation Serif'.")] = None,
    mode: Annotated[Mode, typer.Option(help="On white, or on black.")] = Mode.light,
    listed: Annotated[bool, typer.Option("--list", help="List the figures that there are, and stop.")] = False,
    ledger: LedgerFlag = None,
    as_json: JsonFlag = False,
) -> None:
    """Write a figure of a report for a paper: the page's own definition at a column's width."""
    from isoloss import api
    from isoloss.report.plans import print_list

    if listed:
        rows = [asdict(entry) for entry in api.figures(source, ledger=ledger)]
        said = [{k: "" if v is None else v for k, v in r.items()} for r in rows]
        print_json(rows) if as_json else print_list(said, screen())
        return
    if name is None:
        raise StudyError("--name", "is missing", "say which figure; --list shows them")
    path = api.figure(
        source, name, out, comparison=comparison, index=index.value, arm=arm, choice=choice, width=width,
        font=font, mode=mode.value, ledger=ledger,
    )  # fmt: skip
    if as_json:
        print_json({"figure": name, "path": str(path), "bytes": path.stat().st_size})
    else:
        screen().print(f"Figure: [bold]{escape(str(path))}[/]", soft_wrap=True)
