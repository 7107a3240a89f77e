"""The accounting of algorithmic progress on a terminal: the what-if first, then what it rests on."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from isoloss.origin.accounts import Account, Interval
from isoloss.origin.result import Origin
from isoloss.report import words

_WIDEST = 100
Rows = Sequence[Sequence[str]]


def print_origin(found: Origin, console: Console) -> None:
    """Every table of `isoloss origin`, in the order of its result."""
    _say(console, f"{found.title} ({found.paper})", "bold")
    _what_if(found, console)
    _accounts(found, console)
    _combined(found, console)
    _allocation(found, console)
    _ours(found, console)
    _uncertain(found, console)
    _growth(found, console)
    _distribution(found, console)
    _neighbours(found, console)
    _heading(console, "What the paper says, and what follows from its own formulas")
    for note in found.notes:
        line = Text(f"- {note.statement}: ")
        line.append(note.standing, {"holds": "green", "does not hold": "red"}.get(note.standing, "yellow"))
        line.append(f". {note.figures}")
        console.print(line, width=min(console.width, _WIDEST))


def _what_if(found: Origin, console: Console) -> None:
    asked = found.what_if
    a = asked.answer
    _say(
        console,
        f"Seen from the {a.label}, at {_flop(asked.budget)}: {_times(a.total)} ({a.index}), {a.per_year:.3g} a year. "
        + "; ".join(f"{b.index} {_times(b.total)}" for b in asked.every_index if b.index != a.index)
        + ".",
    )
    if a.steps:
        head = ("step", "year", "factor", "95%", "share of the log", "read at (FLOP)")
        rows = [
            (s.name, str(s.year), _times(s.factor), _ends(s.interval), _share(s.share), words.scientific(s.at))
            for s in a.steps
        ]
        _show(console, f"Where it comes from ({a.index})", head, rows)
    if a.interval:
        _say(console, f"95%: {_ends(a.interval)}; from what was added alone.", "dim")


def _accounts(found: Origin, console: Console) -> None:
    head = ("years", "index", "total", "Transformer", "balance", "rest", "share", "a year")
    rows: Rows = [_row(a) for a in (*found.published.accounts, *found.published.restored)]
    _show(console, "As published, and with SwiGLU's factor restored", head, rows)
    _say(console, "Rest: the scale-independent factors. Share: of the two scale-dependent steps, of the log.", "dim")
    _show(console, "At the rounded budgets, under every index", head, [_row(a) for a in found.consistent.accounts])
    _say(
        console, "From unrounded single gains at rounded budgets; the rows above are the authors' own rounding.", "dim"
    )
    _show(
        console,
        "The modern law times mixture of experts, no chain",
        ("years", "index", "total", "scale-dependent"),
        [(_years(a), a.index, _times(a.total), _share(a.scale_dependent_share)) for a in found.consistent.direct],
    )


def _row(a: Account) -> tuple[str, ...]:
    scale = [s.factor for s in a.steps if s.kind == "scale-dependent"]
    said = "+ SwiGLU" if "restored" in a.label else a.index.removeprefix("as-")
    return (
        _years(a), said, _times(a.total), *(_times(s) for s in scale), _times(a.total / a.scale_dependent),
        _share(a.scale_dependent_share), f"{a.per_year:.3f}",
    )  # fmt: skip


def _combined(found: Origin, console: Console) -> None:
    rows: Rows = [
        (c.name, f"{c.product:.2f}×", f"{c.joint:.2f}×", f"{c.raw:.2f}×" if c.raw else "")
        for c in found.consistent.combined
    ]
    _show(console, "Single gains multiplied, and together", ("change", "multiplied", "together", "by curves"), rows)


def _allocation(found: Origin, console: Console) -> None:
    a = found.consistent.allocation
    rows: Rows = [
        (words.scientific(p.budget), _times(p.old), _times(p.new), _times(p.closed_form), _times(p.asymptote))
        for p in a.points
    ]
    head = ("budget (FLOP)", "old, exact", "new, exact", "printed formula", "printed limit")
    _show(console, f"Kaplan's balance to Chinchilla's (law: {a.law})", head, rows)
    rows = [(b.law, _times(b.old), _times(b.new)) for b in a.by_law]
    _show(console, f"The same at {_flop(a.by_law[0].budget)} under other laws", ("law", "old", "new"), rows)
    for note in a.notes:
        _say(console, note, "dim")
    laws = ("budget (FLOP)", "2017, new", "2017, old", "modern, new", "modern, old", "known")
    rows = [
        (
            words.scientific(p.budget), _times(p.retro_new), _times(p.retro_old), _times(p.modern_new),
            _times(p.modern_old), "measured" if p.measured else "extrapolated",
        )
        for p in found.consistent.ladder
    ]  # fmt: skip
    _show(console, "Transformers over the LSTM by the printed laws", laws, rows)


def _ours(found: Origin, console: Console) -> None:
    ours = found.ours
    if not ours.gains:
        _heading(console, "Our own ladder")
        _say(console, ours.note, "yellow")
        return
    head = ("step", "at (FLOP)", "index", "ours", "95%", "printed law")
    rows: Rows = [
        (f"{g.old} to {g.new}", words.scientific(g.at), g.index, words.times(g.gain), words.span(g.interval),
         words.times(g.foretold))
        for g in ours.gains
        if g.gain is not None
    ]  # fmt: skip
    _show(console, "Our own ladder, and the printed laws carried down to it", head, rows)
    head = ("arm", "at (FLOP)", "quality", "95%", "runs", "study")
    rows = [
        (r.arm, words.scientific(r.budget), f"{words.quality(r.quality)} {r.unit}", words.limits(r.interval),
         str(r.runs), r.study)
        for r in ours.rungs
    ]  # fmt: skip
    _show(console, "The runs behind it", head, rows)
    bounds = sum(g.gain is None for g in ours.gains)
    if bounds:
        _say(console, f"{words.plural(bounds, 'more budget')} with a bound only: see --json, or the page.", "dim")


def _uncertain(found: Origin, console: Console) -> None:
    u = found.uncertain
    if not u.rows:
        _heading(console, "Intervals")
        _say(console, u.how[:1].upper() + u.how[1:] + ".", "yellow")
        return
    head = ("reading of the curves", "total, new", "95%", "total, old", "95%")
    rows: Rows = [
        (r.label, _times(r.total_new), _ends(r.intervals.get("total_new")), _times(r.total_old),
         _ends(r.intervals.get("total_old")))
        for r in u.rows
    ]  # fmt: skip
    _show(
        console, f"From the authors' curves, at {_flop(u.budget)}, {u.decades_out:.1f} decades beyond them", head, rows
    )
    _say(console, f"Intervals: {u.how}.", "dim")
    rows = [(name.replace("_", " "), *map(_times, u.span[name])) for name in u.span]
    _show(console, f"Over {len(u.curve)} combinations of choices", ("gain", "least", "median", "greatest"), rows)


def _growth(found: Origin, console: Console) -> None:
    head = ("seen from", "log rate", "a year", f"in {found.growth[0].path[-1][0]}", "printed")
    rows: Rows = [
        (g.title, f"{g.log_rate:.1%}", f"+{g.simple_rate:.0%}", _times(g.gain), _times(g.printed) if g.printed else "")
        for g in found.growth
    ]
    _show(console, "Growth seen from each reference", head, rows)
    e = found.effective
    rows = [(p.name, f"{p.per_year:.2f}×", _times(p.total), f"{p.share:.1%}") for p in e.parts]
    title = f"Effective compute, {e.years[0]} to {e.years[1]}, compute growing {e.compute_growth:g} times a year"
    _show(console, title, ("part", "a year", "in all", "share of the log"), rows)
    _say(
        console,
        f"Of the algorithms' own gain {e.bought_by_scale:.0%} (of the log) was bought by scale: at the first year's "
        f"budget the same algorithms are worth {_times(e.at_start)}. Effective compute a year: "
        + ", ".join(f"{v:.2f} times if compute grows {k}" for k, v in e.by_growth.items())
        + ".",
    )
    head = ("developer", "budget (FLOP)", "new", "old", "scale-dependent")
    rows = [
        (b.who, words.scientific(b.budget), _times(b.new), _times(b.old), f"{b.scale_dependent_share:.1%}")
        for b in found.benefits
    ]
    _show(console, "Who benefits: the whole stack over an LSTM", head, rows)


def _distribution(found: Origin, console: Console) -> None:
    d = found.distribution
    rows: Rows = [(t.sample, t.null, t.largest, f"{t.largest_share:.0%}", f"{t.p:.2g}") for t in d.tests]
    _show(console, "Few jumps or many steps", ("gains", "exchangeable", "largest", "share", "p"), rows)
    _say(console, f"Skewness of the log gains {d.skew:.2f}.", "dim")
    head = ("innovation", "year", "claimed", "later", "ours", "trend", "source")
    rows = [(c.name, str(c.year), _gain(c.claimed), _gain(c.later), _gain(c.ours), c.trend, c.check) for c in d.claims]
    _show(console, "Claims, later work, ours", head, rows)
    for c in d.claims:
        if c.ours is not None and c.ours_interval is not None:
            _say(console, f"{c.name}: ours {c.ours:g} ({_ends(c.ours_interval)}) at {c.ours_scale}.", "dim")
    _say(console, d.note, "dim")


def _neighbours(found: Origin, console: Console) -> None:
    head = ("estimate", "years", "total", "a year", "95% or range", "months to halve")
    rows: Rows = [
        (
            n.name, n.years, _times(n.total) if n.total else "", f"{n.per_year:.2f}×" if n.per_year else "",
            f"{n.interval[0]:.2f} to {n.interval[1]:.2f}" if n.interval else "",
            f"{n.doubling_months:.1f}" if n.doubling_months else "",
        )
        for n in found.neighbours
    ]  # fmt: skip
    _show(console, "Beside it", head, rows)


def _share(value: float) -> str:
    return "–" if value != value else f"{value:.1%}"  # a share of no gain at all


def _years(a: Account) -> str:
    return f"{a.years[0]}–{a.years[1]}"


def _flop(budget: float) -> str:
    return f"{words.scientific(budget, 3)} FLOP"


def _times(value: float) -> str:
    """A gain in four digits, thousands whole."""
    if value >= 1e6 or 0 < value < 1e-3:
        return words.scientific(value, 3) + "×"
    return f"{value:,.0f}×" if value >= 1000 else f"{value:.4g}×"


def _gain(value: float | None) -> str:
    return "" if value is None else f"{value:.3g}×"


def _ends(ends: Interval | None) -> str:
    return "" if ends is None else f"{_short(ends[0])} to {_short(ends[1])}"


def _short(value: float) -> str:
    return words.scientific(value, 2) if value >= 1e6 else f"{float(f'{value:.3g}'):,.6g}"


def _heading(console: Console, title: str) -> None:
    console.print()
    _say(console, title, "bold")


def _show(console: Console, title: str, head: Sequence[str], body: Rows) -> None:
    _heading(console, title)
    table = Table(box=None, pad_edge=False, header_style="dim")
    for k, name in enumerate(head):
        numeric = any(any(ch.isdigit() for ch in row[k]) for row in body) and k > 0
        table.add_column(Text(name), justify="right" if numeric else "left", no_wrap=numeric, overflow="fold")
    for row in body:
        table.add_row(*(Text(words.plain(c)) for c in row))
    console.print(table)


def _say(console: Console, said: str, style: str = "") -> None:
    console.print(Text(said, style=style), width=min(console.width, _WIDEST))
