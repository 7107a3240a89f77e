"""The verbs that look at a ledger from outside: status, send."""

from __future__ import annotations

import json
from typing import Annotated

import typer
from rich.live import Live

from isoloss.cli.flags import JsonFlag, LedgerFlag, StudyName, ToFlag
from isoloss.cli.frame import app, errors, print_json, screen
from isoloss.errors import IsolossError


@app.command()
def status(
    study: StudyName = None,
    ledger: LedgerFlag = None,
    watch: Annotated[bool, typer.Option("--watch", help="Look again and again until the study is finished.")] = False,
    every: Annotated[float | None, typer.Option(min=0.1, help="Seconds between looks, with --watch (2).")] = None,
    as_json: JsonFlag = False,
) -> None:
    """Show what a ledger holds: runs finished, diverged, failed, running, queued; of one study, by rung and arm.

    With --watch also the rate, the time left and who works on it, from any terminal or machine that reaches the ledger:
    the study named, else the one opened last. With --json then an object a line. Example:

        isoloss status quickstart --watch
    """
    from isoloss import api
    from isoloss.report.plans import print_look, print_status

    if every is not None and not watch:
        raise IsolossError("--every", "is for --watch: without it there is one look", "add --watch, or leave it out")
    if watch:
        try:
            _watch(study, ledger, 2.0 if every is None else every, as_json)
        except KeyboardInterrupt:  # the study goes on
            raise typer.Exit(130) from None
        return
    if study is not None and not as_json:
        print_look(api.look(study, ledger=ledger).progress, screen())
        return
    rows = api.status(study, ledger=ledger)
    print_json(rows) if as_json else print_status(rows, screen())


def _watch(study: str | None, ledger: str | None, every: float, as_json: bool) -> None:
    from isoloss import api
    from isoloss.report.progress import progress_line, view

    looks = api.watch(study, ledger=ledger, every=every)
    console = screen()
    if as_json:
        for look in looks:
            typer.echo(json.dumps(api.look_json(look), ensure_ascii=False, allow_nan=False))
    elif not console.is_terminal:
        said = ""
        for look in looks:
            line = progress_line(look.progress, look.rate)
            if line != said:
                console.print(line, markup=False, soft_wrap=True)
            said = line
    else:
        with Live(console=console, auto_refresh=False) as live:
            for look in looks:
                live.update(view(look.progress, look.rate, console.width, console.height - 1), refresh=True)


@app.command()
def send(
    study: StudyName = None,
    to: ToFlag = None,
    ledger: LedgerFlag = None,
    as_json: JsonFlag = False,
) -> None:
    """Send what a ledger holds of a study to trackers. Sent twice, nothing is doubled.

    Example:

        isoloss send quickstart --to tensorboard:logs --to wandb:my-project
    """
    from isoloss import api
    from isoloss.report.corpora import BuildProgress

    with BuildProgress(errors()) as live:
        sent = api.send(study, to or (), ledger=ledger, progress=lambda done, n: live.update("runs sent", done, n))
    if as_json:
        print_json(sent)
        return
    for row in sent:
        screen().print(f"{row['to']}: {row['written']} runs written, {row['held']} were there")
