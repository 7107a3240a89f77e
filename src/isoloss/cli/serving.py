"""The verb over a ledger that others look at: serve."""

from __future__ import annotations

from typing import Annotated

import typer

from isoloss.cli.flags import JsonFlag, LedgerFlag, ResultsFlag
from isoloss.cli.frame import app, errors, print_json, screen


@app.command()
def serve(
    ledger: LedgerFlag = None,
    host: Annotated[
        str, typer.Option(help="Address to listen on. Any but this machine's own needs a token.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port; 0: any free one.")] = 8765,
    token: Annotated[
        str | None,
        typer.Option(
            help="Who looks must know it. Better set $ISOLOSS_TOKEN: others can read a command line.",
            show_default=False,
        ),
    ] = None,
    name: Annotated[
        list[str] | None, typer.Option(help="A further host name that the server goes by (repeatable).")
    ] = None,
    results: ResultsFlag = None,
    plugins: Annotated[
        bool, typer.Option("--plugins", help="Let the plug-ins of the ledger's studies run: they are code.")
    ] = False,
    as_json: JsonFlag = False,
) -> None:
    """Show a ledger in the browser while its runs finish: queue, reports, atlas, origin. Reads and never writes.

    Examples:

        isoloss serve

        ISOLOSS_TOKEN=$(openssl rand -hex 16) isoloss serve --host 0.0.0.0
    """
    from isoloss import api

    def started(address: str) -> None:
        if as_json:
            print_json({"address": address})
            return
        screen().print(f"Serving at [bold]{address}[/] (Ctrl-C stops it)", soft_wrap=True)
        if token is not None:
            errors().print("isoloss: a token on the command line can be read by others; set ISOLOSS_TOKEN instead.")

    api.serve(
        ledger, host=host, port=port, token=token, names=name or (), results=results, plugins=plugins, started=started
    )
