"""The verb over laws: fit one to anybody's run table, for one arm or several."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from isoloss.errors import TableError, UnknownNameError

if TYPE_CHECKING:  # imported where used, so that `import isoloss` stays instant
    import polars as pl

    from isoloss.gains.result import Diagnostic
    from isoloss.laws import FittedLaw, Law
    from isoloss.laws.ensemble import Ensemble
    from isoloss.laws.joint import JointFit, Sharing
    from isoloss.laws.parameter_profile import ParameterProfile
    from isoloss.verbs.predictions import Prediction

#: Column of a law -> names of table columns that are taken for it without being told (compared by `plain_name`).
LAW_COLUMNS: dict[str, tuple[str, ...]] = {
    "N": (
        "n", "params", "parameters", "n_params", "num_params", "model_size", "active_parameters", "param_count",
        "dense_parameters", "dense_parameter_count", "params_active_precise", "total_parameters",
        "non_embedding_parameters",
    ),
    "D": ("d", "tokens", "train_tokens", "training_tokens", "n_tokens", "num_tokens", "examples", "samples"),
    "U": ("u", "unique_tokens", "unique_data", "unique_examples"),
    "experts": ("experts", "num_experts", "n_experts", "expert_count"),
    "D_F": ("d_f", "fine_tuning_examples", "finetune_tokens", "fine_tuning_tokens", "target_examples"),
}  # fmt: skip
MOST_ARMS = 12
FEWEST_CLUSTERS = 4
FEWEST_DRAWS = 20  # of fewer, no interval holds 95%


@dataclass(frozen=True)
class LawReport:
    """What ``isoloss fit`` found: the law of every arm, or one named "" where the table has none or they are pooled.

    `ensembles` holds them where several laws were weighed; then `arms` is empty. `columns` says which column of the
    table was taken for which of the law's; `left_out` counts rows that were not used, by reason, and `notes` are
    cautions about the rest; `joint` and `ways` are there when several arms were fitted together, `predictions` and
    `profiles` when they were asked for.
    """

    law: str
    formula: str
    columns: dict[str, str]
    arms: dict[str, FittedLaw]
    left_out: dict[str, int]
    joint: JointFit | None = None
    ways: tuple[Sharing, ...] = ()
    predictions: tuple[Prediction, ...] = ()
    profiles: dict[str, ParameterProfile] = field(default_factory=dict)
    notes: tuple[Diagnostic, ...] = ()
    ensembles: dict[str, Ensemble] = field(default_factory=dict)


def fit(
    runs: str | os.PathLike[str],
    *,
    law: str = "power-floor",
    arm: str | None = None,
    pool: bool = False,
    share: Sequence[str] = (),
    pin: Mapping[str, float] | None = None,
    resource: str | None = None,
    parameters: str | None = None,
    tokens: str | None = None,
    columns: Mapping[str, str] | None = None,
    quality: str | None = None,
    arm_column: str | None = None,
    cluster_column: str | None = None,
    where: Sequence[str] = (),
    objective: str | None = None,
    delta: float | None = None,
    resample: str = "auto",
    noise: str = "constant",
    eval_sd: str | None = None,
    at: Sequence[str] = (),
    profile: str | None = None,
    bootstrap: int = 1000,
    seed: int = 0,
) -> LawReport:
    """Fit a scaling law to anybody's run table.

    `law` is a name (``isoloss list laws``), a Python file that registers one, or a formula such as ``"E +
    A*C**-alpha"``, whose names are columns of the table or else positive parameters. `columns` maps the law's columns
    to the table's (``{"N": "params"}``); `resource`, `parameters` and `tokens` are short for its only one, N and D. A
    table with several arms is fitted arm by arm, the parameters in `share` being common to them, unless one `arm` is
    named or they are to `pool`. Several laws with commas between are weighed by how well they forecast held-out
    rungs. `at` asks for predictions (``"1e20"``, ``"N=1e9,D=2e10"``), `profile` for the likelihood interval of a
    parameter; `eval_sd` names a column of standard errors, for noise ``components``. Raises TableError in one line.
    """
    from isoloss.laws import fit as fit_law
    from isoloss.laws.ensemble import ensemble
    from isoloss.laws.joint import fit_joint, ways_of_sharing
    from isoloss.laws.parameter_profile import profile as profile_of
    from isoloss.ledger.conditions import where as rows_where
    from isoloss.ledger.external import numeric
    from isoloss.ledger.importers import ledger, load
    from isoloss.verbs.law_rows import LawRows
    from isoloss.verbs.predictions import places, predict

    if 0 < bootstrap < FEWEST_DRAWS:
        remedy = f"give 0 for none, or {FEWEST_DRAWS} and more"
        raise TableError("--bootstrap", f"{bootstrap} resamples make no 95% interval", remedy)
    path = Path(runs)
    imported = load(path, chosen=where)
    path = ledger.shown(path)
    frame, numbered = imported.frame, imported.rows
    if where:
        keep = rows_where(frame, path, where)
        frame, numbered = frame.filter(keep), numbered.filter(keep)
    told = {**dict(columns or {}), **_short(resource, parameters, tokens)}
    names = [n.strip() for n in law.split(",")]
    forms = [law_of(n, frame.columns, told) for n in names]
    form = forms[0]
    if not told and len(form.columns) == 1 and "resource" in imported.roles:  # a ledger knows its ladder
        told = {form.columns[0]: imported.roles["resource"]}
    score = _column(path, frame, "quality", quality or imported.roles.get("quality"), None)
    if any(set(f.columns) != set(form.columns) for f in forms):
        raise TableError(f"--law {law}", "names laws in different columns", "weigh laws of the same columns")
    named = {c: _column(path, frame, c, told.pop(c, None), form) for c in form.columns}
    if told:
        known = ", ".join(form.columns)
        raise TableError("--column", f"law {form.name} has no column {' or '.join(sorted(told))}", f"it has {known}")
    keep, left_out = _usable(path, frame, score, list(named.values()))
    frame, numbered = frame.filter(keep), numbered.filter(keep)
    arms = _arms(path, frame, arm_column, arm, pool, share)
    if arm is not None and arms is not None:
        frame, numbered, arms = frame.filter(arms == arm), numbered.filter(arms == arm), None
    x = {c: numeric(path, frame, column) for c, column in named.items()}
    y = numeric(path, frame, score)
    asked = places(form, at)
    table = LawRows(path, frame, numbered, score, named, arms)
    table.check(form, x, y, clustered=cluster_column is not None)
    notes = (*imported.notes, *table.notes(x))

    def column_of(role: str, told: str | None) -> pl.Series | None:
        return None if told is None else frame[_column(path, frame, role, told, None)]

    clusters = column_of("cluster", cluster_column)
    if clusters is not None and clusters.n_unique() < FEWEST_CLUSTERS:
        what = f"'{cluster_column}' tells {clusters.n_unique()} cluster(s) apart"
        raise TableError(
            "--cluster-column", what, f"resampling needs {FEWEST_CLUSTERS}; leave it out if runs are independent"
        )
    errors = None if eval_sd is None else numeric(path, frame, _column(path, frame, "eval_sd", eval_sd, None))
    options: dict[str, Any] = {"bootstrap": bootstrap, "objective": objective, "delta": delta, "seed": seed}
    options["clusters"] = None if clusters is None else clusters.cast(str).fill_null("").to_numpy()
    alone: dict[str, Any] = {"resample": resample, "pinned": pin, "noise": noise, "eval_sd": errors}
    groups = (
        {arm or "": slice(None)}
        if arms is None
        else {n: (arms == n).to_numpy() for n in arms.unique(maintain_order=True)}
    )
    fits: dict[str, FittedLaw] = {}
    ensembles: dict[str, Ensemble] = {}
    joint: JointFit | None = None
    ways: tuple[Sharing, ...] = ()
    with _located(path, named):
        if len(forms) > 1:
            for flag, given in (("--share", share), ("--pin", pin), ("--profile", profile)):
                if given:
                    raise TableError(flag, "has no meaning for several laws at once", "name one law")
            kept = {k: v for k, v in options.items() if v is not None and k != "clusters"}
            for name, rows in groups.items():
                ensembles[name] = ensemble(forms, {c: v[rows] for c, v in x.items()}, y[rows], **kept)
        elif arms is None:
            fits = {arm or "": fit_law(form, x, y, **options, **alone)}
        else:
            if noise != "constant":
                raise TableError(
                    "--noise", "is for one arm at a time", "name one with --arm; arms are weighed apart anyway"
                )
            options |= {"resample": resample, "pinned": pin}
            joint = fit_joint(form, x, y, arms.to_numpy(), shared=share, **options)
            fits = {n: _bounds_named(f) for n, f in joint.arms.items()}
            ways = ways_of_sharing(
                form, x, y, arms.to_numpy(), pinned=pin, objective=objective, delta=delta, own=joint.own
            )
    profiles = {}
    if profile is not None:
        for name, rows in groups.items():
            mine = {c: v[rows] for c, v in x.items()}
            profiles[name] = profile_of(form, mine, y[rows], profile, objective=objective, delta=delta, pinned=pin)
    ranges = {c: (float(v.min()), float(v.max())) for c, v in x.items()}
    return LawReport(
        law=", ".join(f.name for f in forms),
        formula=form.formula if len(forms) == 1 else "",
        columns={"quality": score, **named},
        arms=fits,
        left_out=left_out,
        joint=joint,
        ways=ways,
        predictions=predict(fits or ensembles, asked, ranges),
        profiles=profiles,
        notes=notes,
        ensembles=ensembles,
    )


@contextmanager
def _located(path: Path, named: Mapping[str, str]) -> Iterator[None]:
    """Faults that the engine finds name the file, and the table's column for the law's only one."""
    try:
        yield
    except TableError as error:
        if error.where.startswith("--"):
            raise
        where = re.sub(r"(^|, )\*$", lambda m: m[1] + named.get("*", "*"), error.where)
        raise TableError(f"{path}: {where}", error.what, error.remedy) from None


def _bounds_named(fitted: FittedLaw) -> FittedLaw:
    """One arm of a joint fit, with the parameters that lie at an end of their range among its diagnostics."""
    from isoloss.laws.fit import at_bound

    names = [p.name for p in fitted.law.parameters]
    stuck = [n for n, at in zip(names, at_bound(fitted.law, fitted.theta), strict=True) if at]
    return replace(fitted, diagnostics={**fitted.diagnostics, "parameters_at_bound": stuck})


def law_of(text: str, names: Sequence[str], columns: Mapping[str, str]) -> Law:
    """The law that `text` names: a registered name, a plug-in file, or a formula over the table's column `names`."""
    from isoloss.laws import LAWS, find_law
    from isoloss.laws.expression import ExpressionLaw
    from isoloss.ledger.columns import GUESSES, plain_name
    from isoloss.registry import load_plugin

    if text.endswith(".py"):
        new = LAWS.from_module(load_plugin(Path(text)))
        if len(new) != 1:
            what = f"registers {len(new)} laws" + (f": {', '.join(new)}" if new else "")
            raise TableError(f"--law {text}", what, "register one with @law, or name one of them after loading")
        return find_law(new[0])
    if re.search(r"[*/+()^]", text):
        # C, N, D ... of a formula are the table's columns of that kind where it has none of the very name
        plain = {plain_name(n) for n in names}
        kinds = [k for k, guesses in {"C": GUESSES["resource"], **LAW_COLUMNS}.items() if plain & set(guesses)]
        return ExpressionLaw(text, columns=[*names, *columns, *kinds])
    return find_law(text)


def law_json(report: LawReport) -> dict[str, Any]:
    """The answer of ``isoloss fit --json``: per arm, parameters with 95% intervals, objective, diagnostics."""
    from isoloss.gains.result import to_json

    def one(fitted: FittedLaw) -> dict[str, Any]:
        return {
            "parameters": {
                name: to_json({"value": float(value), "interval": fitted.interval(name)})
                for name, value in fitted.params.items()
            },
            "objective": float(fitted.objective),
            "diagnostics": to_json(fitted.diagnostics),
        }

    answer: dict[str, Any] = {"law": report.law, "formula": report.formula, "columns": report.columns}
    answer["left_out"] = report.left_out
    answer["notes"] = to_json(report.notes)
    answer["predictions"] = to_json(report.predictions)
    answer["profiles"] = {
        name: to_json({"parameter": p.name, "value": p.best, "interval": p.interval(), "open_ends": p.open_ends()})
        for name, p in report.profiles.items()
    }
    if report.ensembles:
        answer["weights"] = {name: to_json(e.weights) for name, e in report.ensembles.items()}
        answer["scores"] = {name: to_json(e.scores) for name, e in report.ensembles.items()}
        answer["law_left_out"] = {name: to_json(e.left_out) for name, e in report.ensembles.items()}
        return answer
    if report.joint is None:
        return {**answer, **one(next(iter(report.arms.values())))}
    answer["arms"] = {name: one(fitted) for name, fitted in report.arms.items()}
    answer["shared"] = list(report.joint.shared)
    answer["ways_of_sharing"] = to_json(report.ways)
    answer["diagnostics"] = to_json(report.joint.diagnostics)
    return answer


def _short(resource: str | None, parameters: str | None, tokens: str | None) -> dict[str, str]:
    given = {"*": resource, "N": parameters, "D": tokens}
    return {k: v for k, v in given.items() if v is not None}


def _column(path: Path, frame: pl.DataFrame, role: str, told: str | None, form: Law | None) -> str:
    """The table's column for a law's column or for the quality: as told, else guessed by name."""
    from isoloss.ledger.columns import GUESSES, listed, plain_name

    if told is not None:
        if told not in frame.columns:
            raise TableError(path, f"has no column '{told}' for {role}", f"columns: {listed(frame.columns)}")
        return told
    if role in frame.columns and form is not None:
        return role
    guesses = GUESSES[role] if role in GUESSES else LAW_COLUMNS.get(role, (role.lower(),))
    if role in ("*", "C"):
        guesses = GUESSES["resource"]
    plain = {plain_name(c): c for c in reversed(frame.columns)}
    found = next((plain[g] for g in guesses if g in plain), None)
    if found is None:
        flag = {"quality": "--quality", "*": "--resource", "N": "--parameters", "D": "--tokens"}.get(role)
        what = "resource" if role == "*" else role
        remedy = f"name it with {flag or f'--column {role}=NAME'}; columns: {listed(frame.columns)}"
        raise TableError(path, f"no column looks like the {what}", remedy)
    return found


def _usable(path: Path, frame: pl.DataFrame, score: str, names: list[str]) -> tuple[pl.Series, dict[str, int]]:
    """Which rows have a finite quality and every column; runs that diverged say nothing of a law, and are counted."""
    import numpy as np
    import polars as pl

    from isoloss.ledger.columns import is_score
    from isoloss.ledger.external import numeric
    from isoloss.verbs.law_rows import exploded

    if is_score(score):
        what = "looks like a score (better when higher), and a law is of a loss or an error"
        raise TableError(f"{path}: {score}", what, "make it an error (1 - accuracy), or name another with --quality")
    y = numeric(path, frame, score)
    bad = ~np.isfinite(y)
    left_out = {"quality missing or infinite": int(bad.sum())} if bad.any() else {}
    if (high := exploded(y)).any():
        left_out[f"quality far above all others (up to {y[high].max():.3g}), so diverged"] = int(high.sum())
        bad |= high
    for name in names:
        absent = ~bad & np.isnan(numeric(path, frame, name))
        if absent.any():
            left_out[f"{name} missing"] = int(absent.sum())
            bad |= absent
    if bad.all():
        raise TableError(f"{path}: {score}", "holds no finite number", "name another column with --quality")
    return pl.Series(~bad), left_out


def _arms(
    path: Path, frame: pl.DataFrame, told: str | None, arm: str | None, pool: bool, share: Sequence[str]
) -> pl.Series | None:
    """Arm of each row, None where there is one only or they are pooled."""
    from isoloss.ledger.columns import GUESSES, listed, plain_name

    plain = {plain_name(c): c for c in reversed(frame.columns)}
    column = told or next((plain[g] for g in GUESSES["arm"] if g in plain and g != "name"), None)
    if column is None:
        if arm is not None or share:
            flag = "--arm" if arm is not None else "--share"
            remedy = f"name it with --arm-column; columns: {listed(frame.columns)}"
            raise TableError(flag, f"no column of {path} looks like the arm", remedy)
        return None
    if column not in frame.columns:
        raise TableError(path, f"has no column '{column}' for the arm", f"columns: {listed(frame.columns)}")
    if pool:
        return None
    values = frame[column].cast(str).fill_null("")
    names = values.unique(maintain_order=True).to_list()
    if arm is not None:
        if arm not in names:
            raise UnknownNameError(f"{path}: {column}", "arm", arm, names)
        return values
    if len(names) < 2:
        if share:
            raise TableError("--share", f"{path} has one arm only", "nothing to share it with: leave --share out")
        return None
    if len(names) > MOST_ARMS:
        what = f"names {len(names)} arms, too many to fit side by side"
        raise TableError(f"{path}: {column}", what, "choose one with --arm, some with --where, or --pool them")
    return values
