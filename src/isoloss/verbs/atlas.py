"""The verb ``atlas``: every innovation with what was claimed, what later work found, and what was measured here."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from isoloss.errors import IsolossError, TableError, UnknownNameError, without_credentials

if TYPE_CHECKING:  # imported where used, so that `import isoloss` stays instant
    from isoloss.evidence.cards import CardComparison, FiledCard
    from isoloss.gains.portable import Portable
    from isoloss.gains.result import Index, Interval, Level, Region, Trend
    from isoloss.gains.standings import Link, Setting, Standing

RESULTS = "results"


@dataclass(frozen=True)
class Quoted:
    """A published gain and where it stands."""

    gain: float
    scale: str
    paper: str


@dataclass(frozen=True)
class Measured:
    """One comparison of a study card: its headline, verdict and the runs behind it.

    `gain` is None where only a bound is known; `runs` counts the reported runs of both arms, `run_ids` names them;
    `card` is the file (or the ledger) that it was read from, `command` what made it, `measured` the day of its newest
    run; `portable` reads the gain at other budgets (None: a card of before that was kept).
    """

    study: str
    study_id: str
    card: str
    command: str
    measured: str
    task: str
    baseline: str
    candidate: str
    resource: str
    index: Index
    at: float | None
    gain: float | None
    interval: Interval | None
    region: Region
    slope: float | None
    slope_interval: Interval | None
    level: Level
    trend: Trend
    sentence: str
    diagnostics: tuple[str, ...]
    runs: int
    run_ids: tuple[str, ...]
    portable: Portable | None = None


@dataclass(frozen=True)
class Row:
    """One innovation. `ours` holds every measurement, the one to quote first; empty: not measured.

    `resource` is what the published gains are gains of, `reported_trend` and `said` what the sources say beside them;
    `check`: how the entry was checked. `registered` is False for a claim that nothing here implements. `also`:
    other fields that it belongs to. `standing`: where it stands at the budget that was asked for, if one was.
    """

    name: str
    title: str
    year: int | None
    field: str
    source: str
    old: Mapping[str, Any]
    new: Mapping[str, Any]
    resource: str
    claimed: Quoted | None
    later: Quoted | None
    reported_trend: str
    said: str
    check: str
    ours: tuple[Measured, ...]
    registered: bool
    also: tuple[str, ...] = ()
    standing: Standing | None = None

    @property
    def fields(self) -> tuple[str, ...]:
        """Every field whose atlas shows it, its own first."""
        return (self.field, *self.also)

    @property
    def headline(self) -> Measured | None:
        """The measurement to quote."""
        return self.ours[0] if self.ours else None


@dataclass(frozen=True)
class Atlas:
    """Every innovation of a field, those measured first; `twins`: the A/A comparisons of the field's studies, and of
    others that measured one of its innovations.

    `links`: every comparison that a budget can be carried along; `setting`: the budget that was asked for; `command`:
    what answers the same on a terminal, up to the budget.
    """

    field: str
    rows: tuple[Row, ...]
    twins: tuple[Measured, ...]
    cards: tuple[str, ...]
    notes: tuple[str, ...]
    links: tuple[Link, ...] = ()
    setting: Setting | None = None
    command: str = ""

    @property
    def measured(self) -> tuple[Row, ...]:
        """The rows with a measurement of this project's own."""
        return tuple(r for r in self.rows if r.ours)


def atlas(
    field: str | None = "language",
    *,
    results: str | os.PathLike[str] | None = None,
    ledger: str | None = None,
    at: float | None = None,
    reference: str = "old",
    resource: str = "train_flops",
) -> Atlas:
    """One row for each innovation of `field` (None: of every field): claimed, re-evaluated, measured here.

    Cards are read from `results` (by default the folder ``results`` here, if there is one: ``card.json`` in it or in
    folders of it), and with `ledger` made from every study of that run database. An innovation that several cards
    measured shows all of them, the largest scale first and of equal ones the newest. With `at` every row says where it
    stands at that budget of `resource`, spent by the old arm, the new arm or a named arm (`reference`; see
    `isoloss.gains.standings`). Raises `TableError` for a bad card in one line naming file and field, or for a budget
    that is none; `UnknownNameError` for a field, resource or reference of which nothing is known.
    """
    found, notes = list(filed_cards(results)), list[str]()
    if ledger is not None:
        mine, notes = _ledger_cards(ledger)
        held = {c.card.study_id for c in mine}
        found = [*mine, *(c for c in found if c.card.study_id not in held or not c.card.study_id)]
    if not found:
        notes.append(
            f"Nothing measured: no {results or RESULTS}/*/card.json. `isoloss run STUDY.toml` writes a card beside its "
            "page; then isoloss atlas --results reports."
        )
    whole = replace(atlas_of(found, field, notes), command=command(field, results, ledger))
    return whole if at is None else stand(whole, at, reference, resource)


def command(field: str | None, results: str | os.PathLike[str] | None = None, ledger: str | None = None) -> str:
    """The command that reads this atlas; of a ledger's URL without its password."""
    flags = {"--field": field or "all", "--results": results, "--ledger": ledger and without_credentials(ledger)}
    given = [word for flag, value in flags.items() if value is not None for word in (flag, os.fspath(value))]
    return shlex.join(["isoloss", "atlas", *given])


def atlas_of(found: Sequence[FiledCard], field: str | None = None, notes: Sequence[str] = ()) -> Atlas:
    """The atlas of these cards; raises `IsolossError` for a `field` that has no innovation yet or is unknown."""
    from isoloss.algorithms import algorithms
    from isoloss.algorithms.innovation import innovations
    from isoloss.evidence.claims import claims

    entries = claims("claims")
    known = {n: innovations.get(n) for n in innovations.names()}
    measured = [c.innovation for f in found for c in f.card.comparisons if c.innovation]
    rows = [
        _row(name, known.get(name), entries.get(name, {}), found)
        for name in dict.fromkeys([*known, *entries, *measured])
    ]
    fields = sorted({field for row in rows for field in row.fields})
    if field is not None and field not in fields:
        studied = {name.partition("/")[0] for name in algorithms.names()}
        if field not in studied:
            raise UnknownNameError("--field", "field", field, {*fields, *studied})
        remedy = (
            f"name one in a plug-in with innovation(...), as docs/atlas.md shows; there are some of {', '.join(fields)}"
        )
        raise IsolossError(f"--field {field}", "no innovation of it is registered, claimed or measured yet", remedy)
    rows = [row for row in rows if field in (None, *row.fields)]
    rows.sort(key=lambda r: (not r.ours, not r.registered, r.year or 0, r.name))
    # studies that share an arm and its copy share their runs too: one check, said once
    checks = {
        tuple(sorted(t.run_ids)): t for t in (_measured(f, c) for f in found for c in f.card.comparisons if c.twin)
    }
    shown = {one.study_id for row in rows for one in row.ours}
    twins = tuple(t for t in checks.values() if field in (None, t.task.partition("/")[0]) or t.study_id in shown)
    links = tuple(link for f in found for link in _links(f))
    return Atlas(
        field or "every field",
        tuple(rows),
        twins,
        tuple(f.file for f in found),
        tuple(notes),
        links,
        command=command(field),
    )


def stand(found: Atlas, at: float, reference: str = "old", resource: str = "train_flops") -> Atlas:
    """`found` with every row's standing at the budget `at`: gain, interval, rank and share."""
    from isoloss.gains.standings import Setting, ranked, standing

    if not (at > 0 and at < float("inf")):
        raise TableError("--at", f"{at:g} is no budget", "give a positive number, such as 5e10")
    known = sorted({link.resource for link in found.links})
    if known and resource not in known:
        raise UnknownNameError("--resource", "resource of a measured gain", resource, known)
    arms = references(found, resource)
    if known and reference not in ("old", "new", *arms):
        raise UnknownNameError("--reference", "reference", reference, ("old", "new", *arms))
    setting = Setting(at, reference, resource)
    options = [[_link(m) for m in row.ours if m.portable is not None] for row in found.rows]
    read = ranked([standing(o, found.links, setting) for o in options])
    rows = tuple(replace(row, standing=s) for row, s in zip(found.rows, read, strict=True))
    return replace(found, rows=rows, setting=setting)


def references(found: Atlas, resource: str = "train_flops") -> tuple[str, ...]:
    """The arms that a budget can be that of: those of at least two measured innovations, most often used first."""
    uses: dict[str, set[str]] = {}
    for row in found.rows:
        for one in row.ours:
            if one.portable is not None and one.resource == resource:
                for arm in (one.baseline, one.candidate):
                    uses.setdefault(arm, set()).add(row.name)
    return tuple(sorted((a for a, rows in uses.items() if len(rows) > 1), key=lambda a: (-len(uses[a]), a)))


def filed_cards(results: str | os.PathLike[str] | None) -> tuple[FiledCard, ...]:
    """The cards in the folder `results`, which must be there where it is named; by default ``results`` here."""
    from isoloss.evidence.cards import read_cards

    folder = Path(RESULTS if results is None else results)
    if results is not None and not folder.is_dir():
        raise TableError(folder, "is no folder of results", "name one that holds card.json files, such as reports")
    return read_cards(folder)


def atlas_json(found: Atlas) -> dict[str, Any]:
    """The answer of ``isoloss atlas --json``."""
    from isoloss.gains.result import to_json

    lean = [replace(row, ours=tuple(replace(m, portable=None) for m in row.ours)) for row in found.rows]
    twins = tuple(replace(t, portable=None) for t in found.twins)
    answer: dict[str, Any] = to_json(replace(found, rows=tuple(lean), twins=twins, links=()))
    del answer["links"], answer["command"]
    for row in answer["rows"]:
        row["measured"] = bool(row["ours"])
    for one in [*answer["twins"], *(m for row in answer["rows"] for m in row["ours"])]:
        del one["portable"]
    return answer


def atlas_page(found: Atlas, folder: str | os.PathLike[str] = "reports") -> Path:
    """Write ``atlas.html``, ``atlas.json`` and the figure as SVG into `folder`; the page's path."""
    from isoloss.report.atlas_page import write_atlas_page

    try:
        return write_atlas_page(found, atlas_json(found), Path(folder))
    except OSError as error:
        raise IsolossError(folder, f"the page can't be written ({error.strerror})", "see --out") from error


def _row(name: str, entry: Any, claim: Mapping[str, Any], found: Sequence[FiledCard]) -> Row:
    from isoloss.evidence.cards import of_innovation, registered

    entry = entry if entry is not None else registered(found, name)  # of a plug-in that is not loaded here
    ours = tuple(_measured(f, c) for f, c in of_innovation(found, name))
    field = entry.field if entry is not None else str(claim.get("field") or _field_of(found, name))
    papers = [claim[part]["paper"] for part in ("claimed", "later") if part in claim]
    return Row(
        name=name,
        title=entry.title if entry is not None else str(claim.get("title", name)),
        year=entry.year if entry is not None else claim.get("year"),
        field=field,
        source=entry.source if entry is not None else "; ".join(papers),
        old=dict(entry.old) if entry is not None else {},
        new=dict(entry.new) if entry is not None else {},
        resource=str(claim.get("resource", "")),
        claimed=_quoted(claim.get("claimed")),
        later=_quoted(claim.get("later")),
        reported_trend=str(claim.get("trend", "unknown")),
        said=str(claim.get("said", getattr(entry, "claim", ""))),
        check=str(claim.get("check", "")),
        ours=ours,
        registered=entry is not None or bool(ours),
        also=entry.also if entry is not None else (),
    )


def _quoted(said: Mapping[str, Any] | None) -> Quoted | None:
    return None if said is None else Quoted(float(said["gain"]), str(said["scale"]), str(said["paper"]))


def _field_of(found: Iterable[FiledCard], name: str) -> str:
    """The field of an innovation that only a card knows: that of the task it was measured on."""
    tasks = [f.card.task for f in found for c in f.card.comparisons if c.innovation == name]
    return tasks[0].split("/")[0] if tasks else ""


def _measured(filed: FiledCard, comparison: CardComparison) -> Measured:
    card, top = filed.card, comparison.headline
    return Measured(
        study=card.study,
        study_id=card.study_id,
        card=filed.file,
        command=card.command,
        measured=card.measured,
        task=card.task,
        baseline=comparison.baseline,
        candidate=comparison.candidate,
        resource=comparison.resource,
        index=top.index if top is not None else "old",
        at=top.at if top is not None else None,
        gain=top.gain if top is not None else None,
        interval=top.interval if top is not None else None,
        region=top.region if top is not None else "undefined",
        slope=comparison.slope.value,
        slope_interval=comparison.slope.interval,
        level=comparison.verdict.level,
        trend=comparison.verdict.trend,
        sentence=comparison.verdict.sentence,
        diagnostics=tuple(d.code for d in comparison.diagnostics if d.severity != "info"),
        runs=comparison.count,
        run_ids=tuple(i for ids in comparison.runs.values() for i in ids),
        portable=comparison.portable,
    )


def _links(filed: FiledCard) -> Iterable[Link]:
    return (_link(_measured(filed, c)) for c in filed.card.comparisons if c.portable is not None and not c.twin)


def _link(one: Measured) -> Link:
    from isoloss.gains.standings import Link

    assert one.portable is not None
    return Link(one.card, one.baseline, one.candidate, one.resource, one.portable)


def _ledger_cards(url: str) -> tuple[list[FiledCard], list[str]]:
    """A card of every study in the ledger that has reported runs, and a line for each study that can't be read."""
    from isoloss.evidence.cards import FiledCard, checked
    from isoloss.ledger.store import Ledger
    from isoloss.report.card import card
    from isoloss.verbs.studies import open_study, result_of

    cards, notes = [], []
    store = Ledger(url, create=False)
    try:
        for filed in store.studies():
            name, path = str(filed["name"]), str(filed["path"])
            try:
                opened = open_study(path)
            except IsolossError as error:
                notes.append(f"{name} of the ledger is left out: {error}")
                continue
            if opened.study.study_id != filed["study_id"]:
                notes.append(f"{name} of the ledger is left out: {path} has changed since.")
                continue
            result = result_of(opened, store, {})
            if result.comparisons:
                where = f"{store.name}: {name}"
                cards.append(FiledCard(where, checked(card(result), where)))
    finally:
        store.close()
    return cards, notes
