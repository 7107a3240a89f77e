"""The tables of where algorithmic progress came from, as ready words."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from isoloss.origin.accounts import Account, Allocation, Combined, LadderPoint
from isoloss.origin.result import Benefit, EffectiveCompute, Growth, Origin, OurLadder
from isoloss.origin.spread import Claim, JumpTest, Neighbour, SingleGain, Specification
from isoloss.report import words
from isoloss.report.figures.origin import INDEX_TITLES, factor, told
from isoloss.report.tables import Sheet


def _sheet(title: str, columns: str, rows: Iterable[Sequence[str]], tones: Iterable[str] = ()) -> Sheet:
    """A sheet; a column whose name begins with ``#`` holds numbers."""
    names = columns.split("|")
    numeric = tuple(n.startswith("#") for n in names)
    return Sheet(title, tuple(n.lstrip("#") for n in names), numeric, tuple(tuple(r) for r in rows), tuple(tones))


def _budget(value: float) -> str:
    return words.amount(value, "FLOP", 3)


def _rate(value: float | None) -> str:
    return words.NOTHING if value is None else f"{value:.0%}".replace("-", "−")


def steps_table(account: Account) -> Sheet:
    """The steps of one account with the budget that each is read at."""
    rows = [
        (told(s.name, 60), str(s.year), factor(s.factor), f"{s.share:.1%}", _budget(s.at), f"{s.index} index")
        for s in account.steps
    ]
    rows.append(("total", "", factor(account.total), "100%", _budget(account.budget), ""))
    title = f"{account.years[0]}–{account.years[1]}, {INDEX_TITLES[account.index]}"
    return _sheet(title, "step|year|#gain|#share of log|#read at|under", rows, [*("" for _ in account.steps), "chosen"])


def totals_table(result: Origin) -> Sheet:
    """Every total: as published, under each index, with SwiGLU, and by the modern law directly."""
    rows = []
    for kind, accounts in (
        ("the paper’s constants", result.published.accounts),
        ("the paper’s constants, SwiGLU restored", result.published.restored),
        ("unrounded", result.consistent.accounts),
        ("unrounded, SwiGLU restored", result.consistent.restored),
        ("modern law and experts, no chain", result.consistent.direct),
    ):
        for a in accounts:
            period = f"{a.years[0]}–{a.years[1]}"
            printed = words.NOTHING if a.printed is None else factor(a.printed)
            share = f"{a.scale_dependent_share:.1%}"
            cells = (factor(a.total), printed, f"{words.fixed(a.per_year, 3)}×", share, _budget(a.budget))
            rows.append((period, words.plain(a.index).replace("-", " "), kind, *cells))
    return _sheet("every total", "period|index|from|#total|#printed|#a year|#scale-dependent|#budget", rows)


def combined_table(rows: Sequence[Combined]) -> Sheet:
    """Single gains multiplied against what they give together."""
    cells = [
        (told(c.name, 80), factor(c.product), factor(c.joint), factor(c.raw), words.fixed(c.shrink, 2)) for c in rows
    ]
    columns = "changes|#singles multiplied|#together (laws)|#together (curves)|#share of log left"
    return _sheet("single gains multiplied, and together", columns, cells)


def ladder_table(points: Sequence[LadderPoint]) -> Sheet:
    """Gains over the LSTM at budgets, under both indexes."""
    rows = [
        (_budget(p.budget), *map(factor, (p.retro_old, p.retro_new, p.modern_old, p.modern_new)),
         "measured" if p.measured else "extrapolated")
        for p in points
    ]  # fmt: skip
    columns = "#budget|#2017, old|#2017, new|#modern, old|#modern, new|how known"
    return _sheet(
        "Transformers over the LSTM", columns, rows, ["measured" if p.measured else "extrapolated" for p in points]
    )


def our_gain_table(ours: OurLadder) -> Sheet:
    """Our gains at each budget beside what the printed laws foretell there."""
    rows = [
        (f"{g.old} to {g.new}", _budget(g.at), g.index,
         factor(g.gain) if g.gain is not None else words.span_times(g.interval),
         words.span_times(g.interval) if g.gain is not None else "bound", factor(g.foretold), told(g.study, 40))
        for g in ours.gains
    ]  # fmt: skip
    columns = "step|#at|index|#ours|#95%|#printed law, extrapolated|study"
    return _sheet("our gains and the printed laws", columns, rows, ["measured" for _ in rows])


def our_rung_table(ours: OurLadder) -> Sheet:
    """The quality of each arm of our ladder at each budget."""
    rows = [
        (told(r.arm, 40), _budget(r.budget), f"{words.quality(r.quality)} {words.plain(r.unit, 30)}".strip(),
         words.limits(r.interval), str(r.runs), told(f"{r.study}, {r.task}", 80))
        for r in ours.rungs
    ]  # fmt: skip
    return _sheet("our runs", "arm|#at|#quality|#95%|#runs|study", rows)


def allocation_tables(allocation: Allocation) -> tuple[Sheet, ...]:
    """The optimal allocation against another along budgets, and at one budget under other laws."""
    rows = [(_budget(p.budget), *map(factor, (p.old, p.new, p.closed_form, p.asymptote))) for p in allocation.points]
    title = f"optimal allocation over {told(allocation.reference, 40)}"
    by_law = [(told(b.law, 40), told(b.source, 160), factor(b.old), factor(b.new)) for b in allocation.by_law]
    return (
        _sheet(title, "#budget|#old index|#new index|#printed formula (old)|#printed limit", rows),
        _sheet(
            f"at {_budget(allocation.by_law[0].budget)} under other laws", "law|source|#old index|#new index", by_law
        )
        if by_law
        else _sheet("under other laws", "law|source|#old index|#new index", []),
    )


def growth_table(growth: Sequence[Growth]) -> Sheet:
    """How fast the same history grows, by reference."""
    rows = [
        (told(g.title, 60), factor(g.gain), factor(g.printed), _rate(g.log_rate), _rate(g.printed_rate),
         _rate(g.simple_rate), _rate(g.log_rate_first))
        for g in growth
    ]  # fmt: skip
    columns = "seen from|#gain, last year|#printed|#log rate a year|#printed rate|#compounding|#log rate, first year"
    return _sheet("growth by reference", columns, rows)


def path_table(growth: Sequence[Growth]) -> Sheet:
    """The gain over each reference, year by year."""
    paths = [dict(g.path) for g in growth]
    years = sorted({y for p in paths for y in p})
    names = "|".join(f"#{told(g.title, 40).replace('|', ' ')}" for g in growth)
    return _sheet("year by year", f"#year|{names}", [(str(y), *(factor(p.get(y)) for p in paths)) for y in years])


def effective_table(found: EffectiveCompute) -> Sheet:
    """Effective compute in its parts."""
    rows = [
        (
            told(p.name, 80),
            f"{words.fixed(p.per_year, 2)}×",
            factor(p.total),
            f"{p.share:.1%}",
            told(p.source, 160),
        )
        for p in found.parts
    ]
    title = f"effective compute, {found.years[0]}–{found.years[1]}: {factor(found.total)}"
    return _sheet(title, "part|#a year|#whole period|#share of log|source", rows)


def specification_table(title: str, rows: Sequence[Specification]) -> Sheet:
    """Readings of the curves with their totals and, where runs were resampled, intervals."""
    cells = [
        (told(s.label, 160), *(words.times(v) for v in (s.retro_new, s.retro_old)),
         *(_ranged(getattr(s, k), s, k) for k in ("total_new", "total_old", "as_published")))
        for s in rows
    ]  # fmt: skip
    columns = "reading|#LSTM→2017, new|#LSTM→2017, old|#total, new|#total, old|#as published"
    return _sheet(title, columns, cells)


def _ranged(value: float, row: Specification, key: str) -> str:
    ends = row.intervals.get(key)
    return words.times(value) + (f" ({words.span(ends)})" if ends else "")


def span_table(span: dict[str, tuple[float, float, float]]) -> Sheet:
    """Least, median and greatest over all readings."""
    names = {
        "total_old": f"total, {INDEX_TITLES['old']}",
        "total_new": f"total, {INDEX_TITLES['new']}",
        "as_published": "total, as published",
        "retro_old": f"LSTM to 2017, {INDEX_TITLES['old']}",
        "retro_new": f"LSTM to 2017, {INDEX_TITLES['new']}",
    }
    rows = [(title, *map(words.times, span[key])) for key, title in names.items() if key in span]
    return _sheet("over all readings", "gain|#least|#median|#greatest", rows)


def benefit_table(benefits: Sequence[Benefit]) -> Sheet:
    """What the algorithms are worth by the developer's budget."""
    rows = [
        (told(b.who, 60), _budget(b.budget), factor(b.new), factor(b.old), f"{b.scale_dependent_share:.0%}",
         "measured" if b.measured else "extrapolated")
        for b in benefits
    ]  # fmt: skip
    columns = "developer|#budget|#gain, new index|#gain, old index|#scale-dependent (new)|how known"
    return _sheet("by the developer’s budget", columns, rows)


def single_table(gains: Sequence[SingleGain]) -> Sheet:
    """Single gains with the scale that each belongs to."""
    rows = [
        (
            told(g.name, 60),
            str(g.year),
            factor(g.gain),
            _budget(g.budget),
            "measured" if g.measured else "quoted",
        )
        for g in sorted(gains, key=lambda g: -g.gain)
    ]
    return _sheet("single gains", "innovation|#year|#gain|#at|how known", rows)


def test_table(tests: Sequence[JumpTest]) -> Sheet:
    """Smooth drift or few jumps: the largest step's share against exchangeable steps."""
    rows = [
        (told(t.sample, 80), told(t.null, 120), str(t.steps), told(t.largest, 60),
         f"{t.largest_share:.0%}", words.number(t.p, 2))
        for t in tests
    ]  # fmt: skip
    return _sheet("smooth drift or few jumps?", "sample|if these were exchangeable|#steps|largest|#its share|#p", rows)


def claim_table(claims: Sequence[Claim]) -> Sheet:
    """Claims, later findings and our own, with their sources."""
    rows = [
        (f"{told(c.name, 60)}, {c.year}", told(c.resource, 40), factor(c.claimed),
         told(c.claimed_source, 200), factor(c.later), told(c.later_source, 200),
         factor(c.ours) + (f" ({words.span(c.ours_interval)})" if c.ours_interval else ""),
         told(c.ours_scale, 120) or words.NOTHING, told(c.trend, 40) or words.NOTHING,
         told(c.check, 20))
        for c in claims
    ]  # fmt: skip
    columns = "innovation|resource|#claimed|by|#later|by|#here|at|with scale|claim was"
    return _sheet("claims and what became of them", columns, rows)


def neighbour_table(rows: Sequence[Neighbour]) -> Sheet:
    """Other estimates of the same thing."""
    cells = [
        (told(n.name, 80), told(n.quantity, 100), told(n.years, 20), factor(n.total), _yearly(n),
         words.NOTHING if n.doubling_months is None else words.fixed(n.doubling_months, 1), told(n.source, 160),
         told(n.check, 20))
        for n in rows
    ]  # fmt: skip
    columns = "who|of what|years|#total|#a year|#months to double|source|check"
    return _sheet("other estimates", columns, cells)


def _yearly(row: Neighbour) -> str:
    if row.per_year is None:
        return words.NOTHING
    ends = f" ({words.span(row.interval)})" if row.interval else ""
    return f"{words.fixed(row.per_year, 2)}×{ends}"
