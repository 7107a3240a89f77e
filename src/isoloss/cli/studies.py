"""The verbs over study files and their ledger: run, plan, report, list."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from isoloss.cli.flags import JsonFlag, Kind, LedgerFlag, OutFlag, StudyPath, ToFlag, WorkersFlag
from isoloss.cli.frame import app, errors, print_json, screen
from isoloss.cli.parse import pairs


@app.command()
def run(
    study: StudyPath,
    workers: WorkersFlag = None,
    engine: Annotated[str, typer.Option(help="Where runs run: local, ray, slurm, launched (isoloss list engines).")] = (
        "local"
    ),
    engine_option: Annotated[
        list[str] | None, typer.Option(help="KEY=VALUE for the engine, such as partition=gpu (repeatable).")
    ] = None,
    ledger: LedgerFlag = None,
    out: OutFlag = Path("reports"),
    device: Annotated[
        str | None, typer.Option(help="auto, cpu, cuda or cuda:N; auto is a GPU where there is one.")
    ] = None,
    to: ToFlag = None,
    as_json: JsonFlag = False,
) -> None:
    """Run a study to its verdict and write its report page.

    Stop it at any moment (Ctrl-C, or SIGTERM) and run it again: finished runs are kept and never trained twice, and a
    long run goes on from its last checkpoint. Two of these commands on one ledger share the work.
    """
    from isoloss import api
    from isoloss.execution.signals import Terminated, stoppable
    from isoloss.gains.result import to_json
    from isoloss.report import print_result
    from isoloss.report.live import LiveProgress

    options = pairs("--engine-option", engine_option, "partition=gpu")
    try:
        with stoppable(), LiveProgress(errors()) as live:
            result, page = api.run(
                study,
                workers=workers,
                engine=engine,
                engine_options=options,
                ledger=ledger,
                out=out,
                device=device,
                to=to or (),
                observer=live,
            )
    except KeyboardInterrupt as signalled:  # caught here: typer would call it "Aborted"
        said = "Finished runs and checkpoints are kept; the same command goes on from there."
        errors().print(f"\nisoloss: stopped. {said}", soft_wrap=True)
        raise typer.Exit(143 if isinstance(signalled, Terminated) else 130) from None
    if as_json:
        print_json(to_json(result))
    else:
        print_result(result, screen())
        screen().print(f"\nReport: [bold]{escape(str(page))}[/]", soft_wrap=True)
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
    print_json(to_json(summary)) if as_json else print_plan(summary, screen())


@app.command()
def report(
    study: StudyPath, ledger: LedgerFlag = None, out: OutFlag = Path("reports"), as_json: JsonFlag = False
) -> None:
    """Rebuild a study's report page from its ledger, as far as it goes; trains nothing."""
    from isoloss import api
    from isoloss.gains.result import to_json

    result, page = api.report(study, ledger=ledger, out=out)
    if as_json:
        print_json(to_json(result))
    else:
        screen().print(f"Report: [bold]{escape(str(page))}[/]", soft_wrap=True)


@app.command("list")
def list_(
    kind: Annotated[Kind, typer.Argument(help="What to list.")] = Kind.algorithms,
    name: Annotated[str, typer.Argument(help="Of choices: the algorithm that has them.", show_default=False)] = "",
    plugin: Annotated[
        list[Path] | None, typer.Option("--plugin", help="A plug-in file whose names to list too (repeatable).")
    ] = None,
    as_json: JsonFlag = False,
) -> None:
    """List what can be named: algorithms and the choices of one, tasks, laws, resources, studies, engines; or the
    evidence that ships.

    Examples:

        isoloss list tasks

        isoloss list choices vision/cnn
    """
    from isoloss import api
    from isoloss.report.plans import print_list

    rows = api.known(kind.value, name, plugin or ())
    print_json(rows) if as_json else print_list(rows, screen())
