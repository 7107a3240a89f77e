"""The verbs over scaling laws: fit, isoflop."""

from __future__ import annotations

from typing import Annotated

import typer

from isoloss.cli.flags import ArmFlag, BestOfFlag, JsonFlag, RunsPath, Shape, WhereFlag
from isoloss.cli.frame import app, print_json, screen
from isoloss.cli.parse import number, pairs


@app.command()
def fit(
    runs: RunsPath,
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
    arm_column: ArmFlag = None,
    cluster_column: Annotated[
        str | None, typer.Option(help="Column of what is resampled whole: runs that share a trunk.")
    ] = None,
    where: WhereFlag = None,
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
        pin={k: number("--pin", k, v) for k, v in pairs("--pin", pin, "E=1.8").items()},
        resource=resource,
        parameters=parameters,
        tokens=tokens,
        columns=pairs("--column", column, "N=params"),
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
    print_json(api.law_json(fitted)) if as_json else print_law(fitted, screen())


@app.command()
def isoflop(
    runs: RunsPath,
    compute: Annotated[str | None, typer.Option(help="Column of training FLOPs; default: 6 N D.")] = None,
    parameters: Annotated[str | None, typer.Option(help="Column of parameter counts.")] = None,
    tokens: Annotated[str | None, typer.Option(help="Column of training tokens.")] = None,
    quality: Annotated[str | None, typer.Option(help="Column of the loss.")] = None,
    budget: Annotated[str | None, typer.Option(help="Column of planned budgets; default: grouped by compute.")] = None,
    run: Annotated[str | None, typer.Option(help="Column that names the run, where one gives several rows.")] = None,
    where: WhereFlag = None,
    best_of: BestOfFlag = None,
    approach: Annotated[int, typer.Option(min=1, max=2, help="2: profiles at equal compute; 1: envelope.")] = 2,
    shape: Annotated[Shape, typer.Option(help="The curve through a profile.")] = Shape.parabola,
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
        best_of=best_of or (),
        approach=2 if approach == 2 else 1,
        shape=shape.value,
        noise=noise,
        width=width,
        at=at or (),
        bootstrap=bootstrap,
        seed=seed,
    )
    print_json(api.isoflop_json(check)) if as_json else print_isoflop(check, screen())
