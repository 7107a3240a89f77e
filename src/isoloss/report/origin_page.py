"""The page on where algorithmic progress came from: one HTML file that holds all it shows and answers what-ifs."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

from isoloss.gains.result import to_json
from isoloss.origin.accounts import Account
from isoloss.origin.result import Origin, OurLadder
from isoloss.origin.stack import EXPERTS, TRANSFORMER
from isoloss.report import origin_tables as sheets
from isoloss.report import words
from isoloss.report.document import Shelf, embedded, render_document
from isoloss.report.figures import Figure
from isoloss.report.figures.origin import (
    INDEX_TITLES,
    factor,
    figure_accounts,
    figure_allocation,
    figure_benefits,
    figure_growth,
    figure_ladder,
    told,
)
from isoloss.report.figures.origin_ladder import figure_our_ladder
from isoloss.report.figures.origin_spread import figure_claims, figure_singles, figure_specifications

#: The constant that the published stack left out, by its name among the factors.
RESTORED = "SwiGLU"
_STANDINGS = {"holds": "✓", "loose": "≈", "does not hold": "✗", "open": "?"}


def render_origin_page(result: Origin) -> str:
    """The page as one self-contained HTML document."""
    from altair.utils.schemapi import debug_mode

    shelf = Shelf()
    with debug_mode(False):  # checking every part against the schema takes half the time; tests render what is made
        context = _context(result, shelf)
    return render_document(
        "origin.html.j2",
        {**context, "what_if_json": embedded(what_if_data(result))},
        shelf,
        styles=("report.css", "origin.css"),
        scripts=("figures.js", "origin_model.js", "origin.js"),
    )


def write_origin_page(result: Origin, folder: Path) -> Path:
    """Write ``origin.html``, ``origin.json`` and the accounting as SVG into `folder`; the page's path."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps(to_json(result), ensure_ascii=False, allow_nan=False, indent=1)
    (folder / "origin.json").write_text(text, encoding="utf-8")
    (folder / "origin.svg").write_text(_accounts(result).svg(), encoding="utf-8")
    page = folder / "origin.html"
    page.write_text(render_origin_page(result), encoding="utf-8")
    return page


def what_if_data(result: Origin) -> dict[str, Any]:
    """What the page's script starts from: the laws and constants, and the setting that was asked for."""
    asked, given = result.what_if, result.what_if.ingredients
    return {
        "ingredients": given,
        "names": {"transformer": TRANSFORMER, "experts": EXPERTS, "restored": RESTORED},
        "asked": {
            "reference": asked.reference,
            "budget": asked.budget,
            "first": asked.years[0],
            "last": asked.years[1],
            "growth": asked.compute_growth,
            "index": asked.index,
            "swiglu": asked.swiglu,
            "moe": next((f.gain for f in given.factors if f.name == EXPERTS), 1.0),
            "added": [],
        },
    }


def _context(result: Origin, shelf: Shelf) -> dict[str, Any]:
    last = result.published.accounts[-1]
    same: dict[str, Account] = {a.index: a for a in result.consistent.accounts if a.years == last.years}
    given, asked = result.what_if.ingredients, result.what_if
    uncertain = result.uncertain
    sections = [("answer", "Answer"), ("what-if", "What if"), ("account", "Accounting"), ("compute", "Compute")]
    sections += [("reference", "Reference"), ("uncertainty", "Uncertainty"), ("benefit", "Who benefits")]
    sections += [("singles", "Single gains"), ("neighbours", "Others"), ("standing", "What holds up")]
    return {
        "title": words.plain(result.title, 120),
        "paper": words.plain(result.paper, 300),
        "sections": sections,
        "big": factor(last.total),
        "unrounded": factor(same["as-published"].total),
        "big_where": f"as published, {_period(last)}",
        "sentence": _sentence(result, last, same),
        "cards": [_card(a) for a in (last, same["old"], same["new"])],
        "indexes": [(key, INDEX_TITLES[key]) for key in ("as-published", "old", "new")],
        "references": [(key, words.plain(title, 60)) for key, title in given.references.items()],
        "moe": next((f.gain for f in given.factors if f.name == EXPERTS), None),
        "swiglu": any(f.name == RESTORED for f in given.factors),
        "asked": asked,
        "added": [words.plain(a.name, 60) for a in given.added],
        "powers": sorted({math.floor(math.log10(given.measured[0])), 27}),
        "accounts": shelf.add(_accounts(result)),
        "account_tables": [sheets.steps_table(a) for a in (last, same["new"], same["old"])],
        "totals": sheets.totals_table(result),
        "combined": sheets.combined_table(result.consistent.combined),
        "ladder": {i: shelf.add(figure_ladder(result.consistent.ladder, i)) for i in ("old", "new")},
        "ladder_table": sheets.ladder_table(result.consistent.ladder),
        "ours": _ours(result, shelf),
        "allocation": shelf.add(figure_allocation(result.consistent.allocation)),
        "allocation_tables": sheets.allocation_tables(result.consistent.allocation),
        "allocation_notes": [told(n, 400) for n in result.consistent.allocation.notes],
        "growth": shelf.add(figure_growth(result.growth, _measured_until(result))),
        "growth_tables": [sheets.growth_table(result.growth), sheets.path_table(result.growth)],
        "effective": sheets.effective_table(result.effective),
        "effective_said": _effective(result),
        "specifications": shelf.add(figure_specifications(uncertain.curve, last.total)) if uncertain.curve else "",
        "spans": sheets.span_table(uncertain.span) if uncertain.span else "",
        "specification_table": sheets.specification_table("every reading", uncertain.curve) if uncertain.curve else "",
        "intervals": sheets.specification_table("whole runs drawn with replacement", uncertain.rows)
        if uncertain.rows
        else "",
        "uncertain_said": _uncertain(result),
        "how": told(uncertain.how, 400),
        "benefits": shelf.add(figure_benefits(result.benefits)),
        "benefit_table": sheets.benefit_table(result.benefits),
        "singles": shelf.add(figure_singles(result.distribution.gains)),
        "single_table": sheets.single_table(result.distribution.gains),
        "tests": sheets.test_table(result.distribution.tests),
        "distribution": _distribution(result),
        "claims": shelf.add(figure_claims(result.distribution.claims)),
        "claim_table": sheets.claim_table(result.distribution.claims),
        "neighbours": sheets.neighbour_table(result.neighbours),
        "effects": [(words.plain(n.name, 80), told(n.effect, 400)) for n in result.neighbours if n.effect],
        "notes": [
            {
                "mark": _STANDINGS[n.standing],
                "standing": n.standing,
                "statement": told(n.statement, 600),
                "figures": told(n.figures, 600),
                "where": told(n.where, 200),
            }
            for n in result.notes
        ],
        "standings": [(s, sum(n.standing == s for n in result.notes)) for s in _STANDINGS],
    }


def _ours(result: Origin, shelf: Shelf) -> dict[str, Any]:
    """Our own ladder: two figures and two tables, or the sentence that says why there is none."""
    ours = result.ours
    if not ours.gains:
        return {"note": told(ours.note, 400)}
    return {
        "note": "",
        "said": _ours_said(ours),
        "figures": {i: shelf.add(figure_our_ladder(ours, i)) for i in ("old", "new")},
        "tables": (sheets.our_gain_table(ours), sheets.our_rung_table(ours)),
        "files": [words.plain(f, 200) for f in ours.files],
    }


def _ours_said(ours: OurLadder) -> str:
    """The largest measured gain of the modern Transformer over the LSTM, and what the law foretells there."""
    both = [g for g in ours.gains if g.innovation == "transformer" and g.gain is not None]
    if not both:
        return (
            "No gain of the modern Transformer over the LSTM was measured inside both ladders; bounds are in the table."
        )
    top = max((g for g in both if g.index == "old"), key=lambda g: g.at, default=max(both, key=lambda g: g.at))
    who = "the LSTM’s" if top.index == "old" else "the Transformer’s"
    inside = top.interval is not None and top.interval[0] <= top.foretold <= top.interval[1]
    return (
        f"At {words.amount(top.at, 'FLOP')} of {who} budget the gain of our modern Transformer over our LSTM is "
        f"{words.times(top.gain)} (95%: {words.span(top.interval)}). The printed law, carried that far below the "
        f"paper’s runs, gives {words.times(top.foretold)}: {'inside' if inside else 'outside'} our interval."
    )


def _accounts(result: Origin) -> Figure:
    last = result.published.accounts[-1]
    published = list(result.published.accounts)
    others = [a for a in result.consistent.accounts if a.years == last.years and a.index != "as-published"]
    labels = [f"as published, {_period(a)}" for a in published]
    labels += [f"{INDEX_TITLES[a.index]}, {_period(a)}" for a in others]
    return figure_accounts([*published, *others], labels, "The same history under each index")


def _period(account: Account) -> str:
    return f"{account.years[0]}–{account.years[1]}"


def _sentence(result: Origin, last: Account, same: dict[str, Account]) -> str:
    said = (
        f"Of the {factor(last.total)} that the paper finds for {_period(last)}, {last.scale_dependent_share:.1%} "
        f"(of the logarithm) is two steps whose gain grows with compute. Read as the paper defines it, at the old "
        f"algorithm’s budget, the same history is {factor(same['old'].total)}; at the new one’s, "
        f"{factor(same['new'].total)}."
    )
    widest = _interval(result, same["new"].total)
    if widest is None:
        out = math.log10(last.budget / result.what_if.ingredients.measured[1])
        return f"{said} The paper gives no interval, and its laws are extrapolated {out:.0f} decades."
    return f"{said} {widest}"


def _interval(result: Origin, total: float) -> str | None:
    """What resampling whole runs says about the total, in the reading of the curves nearest to the paper's."""
    rows = [r for r in result.uncertain.rows if r.intervals.keys() & {"total_old", "total_new"} and r.total_new > 0]
    if not rows:
        return None
    row = min(rows, key=lambda r: abs(math.log(r.total_new / total)))
    ends = [(i, row.intervals.get(f"total_{i}")) for i in ("old", "new")]
    spans = [f"{words.span_times(e)} ({i} index)" for i, e in ends if e]
    return (
        f"Drawing whole runs with replacement spans {' and '.join(spans)} at 95%, in the reading of the curves that "
        f"comes nearest to the paper’s ({told(row.label, 60)})."
    )


def _card(account: Account) -> dict[str, Any]:
    where = words.amount(account.budget, "FLOP", 3)
    return {
        "index": account.index,
        "title": INDEX_TITLES[account.index],
        "total": factor(account.total),
        "per_year": f"{words.fixed(account.per_year, 2)}× a year",
        "share": f"{account.scale_dependent_share:.1%} of the log from scale-dependent steps",
        "where": where,
    }


def _measured_until(result: Origin) -> float:
    """The year in which the budgets of the growth figure leave the runs that the laws rest on."""
    last, asked = result.published.accounts[-1], result.what_if
    return last.years[1] + math.log(asked.ingredients.measured[1] / last.budget) / math.log(asked.compute_growth)


def _effective(result: Origin) -> str:
    e = result.effective
    return (
        f"{e.bought_by_scale:.0%} of the logarithm of the algorithms’ part was bought by scale: at the budget of "
        f"{e.years[0]} the same algorithms are worth {factor(e.at_start)}."
    )


def _uncertain(result: Origin) -> str:
    u = result.uncertain
    if not u.span:
        return ""
    return (
        f"{len(u.curve)} readings at {words.amount(u.budget, 'FLOP', 3)}, {u.decades_out:.1f} decades beyond the "
        f"largest run. Their totals at the old algorithm’s budget span {_orders(u.span.get('total_old'))}, at the new "
        f"one’s {_orders(u.span.get('total_new'))}."
    )


def _orders(span: tuple[float, float, float] | None) -> str:
    if span is None or not 0 < span[0] < math.inf:
        return "everything"
    low, middle, high = span
    orders = "without bound" if math.isinf(high) else f"{math.log10(high / low):.1f} orders of magnitude"
    return f"{words.span_times((low, high))} ({orders}; median {words.times(middle)})"


def _distribution(result: Origin) -> str:
    d = result.distribution
    return (
        f"Typical (median) single gain {factor(math.exp(d.median_log))}, mean of the logs "
        f"{factor(math.exp(d.mean_log))}, skewness of the logs {words.number(d.skew)}. "
        f"{told(d.note, 400)}"
    )


def figures(result: Origin) -> tuple[Figure, ...]:
    """Every figure of the page, for those who want one alone."""
    shelf = Shelf()
    _context(result, shelf)
    return tuple(shelf.figures)
