"""The verb over corpora that are built beforehand."""

from __future__ import annotations

from typing import Annotated

import typer

from isoloss.cli.flags import JsonFlag
from isoloss.cli.frame import app, errors, print_json, screen


@app.command()
def corpus(
    name: Annotated[str | None, typer.Argument(help="The corpus to build; default: list them.")] = None,
    as_json: JsonFlag = False,
) -> None:
    """List the large text corpora, or build one from Debian packages (downloads; nothing is installed)."""
    from isoloss import api
    from isoloss.report.corpora import BuildProgress, print_built, print_corpora

    if name is None:
        rows = api.corpora()
        print_json(rows) if as_json else print_corpora(rows, screen())
        return
    try:
        with BuildProgress(errors()) as live:
            built = api.build_corpus(name, progress=live.update)
    except KeyboardInterrupt:  # caught here: typer would call it "Aborted"
        errors().print("\nisoloss: stopped. Packages that were read are kept; the same command goes on from there.")
        raise typer.Exit(130) from None
    print_json(built) if as_json else print_built(built, screen())
