"""The verbs over many algorithms: chain, attribute, rank, origin, atlas."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from isoloss.cli.flags import (
    ArmFlag,
    BaselineFlag,
    BestFlag,
    Composition,
    FloorFlag,
    JsonFlag,
    OutFlag,
    QualityFlag,
    ResourceFlag,
    ResultsFlag,
    RungFlag,
    RunsPath,
    SeedFlag,
    WhereFlag,
)
from isoloss.cli.frame import app, errors, print_json, screen
from isoloss.cli.parse import floor_of, listed, number_or_path, pairs, span


@app.command()
def chain(
    runs: RunsPath,
    arms: Annotated[
        str, typer.Option(help="Arms of the sequence, oldest first, separated by commas.", show_default=False)
    ],
    at: Annotated[list[float] | None, typer.Option(help="Budget to read the chain at (may be repeated).")] = None,
    floor: FloorFlag = "shared",
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
        listed(arms),
        at=at or (),
        floor=floor_of(floor),
        budget_growth=budget_growth,
        resource=resource,
        quality=quality,
        arm_column=arm_column,
        seed_column=seed_column,
        rung_column=rung_column,
        best=best,
        where=where or (),
    )
    print_json(api.attribution_json(found)) if as_json else print_sequence(found, screen())


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
        listed(factors),
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
    print_json(api.attribution_json(found)) if as_json else print_attribution(found, screen())


@app.command()
def rank(
    runs: RunsPath,
    baseline: BaselineFlag,
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
        listed(candidates),
        at=at,
        resource=resource,
        quality=quality,
        arm_column=arm_column,
        seed_column=seed_column,
        rung_column=rung_column,
        best=best,
        where=where or (),
    )
    print_json(api.attribution_json(found)) if as_json else print_ranking(found, screen())


@app.command()
def origin(
    reference: Annotated[str, typer.Option(help="Seen from: lstm, kaplan, retro or dense.")] = "lstm",
    budget: Annotated[float, typer.Option(help="Training FLOP in the last year.")] = 2.26e23,
    years: Annotated[str, typer.Option(help="First and last year, FIRST:LAST.")] = "2013:2025",
    compute_growth: Annotated[float, typer.Option(help="Yearly factor by which budgets grow.")] = 4.1,
    index: Annotated[Composition, typer.Option(help="Whose budget it is, or the product as published.")] = (
        Composition.as_published
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
    results: ResultsFlag = None,
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

    with errors().status("reading the evidence"):
        found = api.origin(
            reference,
            budget,
            span(years),
            compute_growth,
            index.value,
            add={name: number_or_path(text) for name, text in pairs("--add", add, "mine=2.5 or mine=gain.csv").items()},
            swiglu=swiglu,
            moe=moe,
            data=data,
            ho=ho,
            results=results,
        )
    if as_json:
        print_json(api.origin_json(found))
        return
    print_origin(found, screen())
    page = api.origin_page(found, out)
    if page is not None:
        screen().print(f"\nReport: [bold]{escape(str(page))}[/]", soft_wrap=True)


@app.command()
def atlas(
    field: Annotated[str, typer.Option(help="Field of learning, such as language, or all.")] = "language",
    results: ResultsFlag = None,
    ledger: Annotated[
        str | None, typer.Option("--ledger", help="Also every study of this run database: a file, or a URL.")
    ] = None,
    at: Annotated[
        float | None, typer.Option(help="Read every gain at this budget, and rank them.", show_default=False)
    ] = None,
    reference: Annotated[str, typer.Option(help="Whose budget --at is: old, new, or an arm such as modern.")] = "old",
    resource: Annotated[str, typer.Option(help="What --at is an amount of.")] = "train_flops",
    out: OutFlag = Path("reports"),
    as_json: JsonFlag = False,
) -> None:
    """Every innovation: what its originators claimed, what others found since, what we measured, and the verdict.

    Examples:

        isoloss atlas

        isoloss atlas --field all --results reports --ledger isoloss.sqlite

        isoloss atlas --at 5e10 --reference modern
    """
    from isoloss import api
    from isoloss.report.atlas import print_atlas

    found = api.atlas(
        None if field == "all" else field,
        results=results,
        ledger=ledger,
        at=at,
        reference=reference,
        resource=resource,
    )
    if as_json:
        print_json(api.atlas_json(found))
        return
    print_atlas(found, screen())
    page = api.atlas_page(found, out)
    screen().print(f"\nReport: [bold]{escape(str(page))}[/]", soft_wrap=True)
