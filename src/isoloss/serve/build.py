"""Pages of a ledger, made in a process of their own so that nobody who looks has to wait for statistics.

A study is read from the text that the ledger holds, never from the file that it names. Its plug-ins are code beside
that file: they are loaded only where the one who started the server allowed it.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from isoloss.errors import IsolossError, StudyError
from isoloss.serve.snapshot import Answer, Filed, answer

HTML = "text/html; charset=utf-8"
_POLICY = re.compile(r'(<meta http-equiv="Content-Security-Policy" content=")([^"]*)(">)')


@dataclass(frozen=True)
class Source:
    """What pages are made from: the ledger, a folder of further cards, and whether plug-ins may run."""

    ledger: str
    results: str | None
    plugins: bool


@dataclass(frozen=True)
class Built:
    """A page, or in one line why there is none; `card` is the study's, where it is a study's page."""

    page: Answer | None
    policy: str
    fault: str = ""
    card: dict[str, Any] | None = None


def be_modest() -> None:
    """Start of the process: the runs of this machine come first."""
    os.nice(5)


def build_report(source: Source, filed: Filed) -> Built:
    """The report of one study as far as its ledger goes, and its card."""
    from isoloss.ledger.store import Ledger
    from isoloss.report.card import card
    from isoloss.report.page import render_page
    from isoloss.verbs.studies import result_of

    try:
        opened = _opened(source, filed)
        store = Ledger(source.ledger, create=False, read_only=True)
        try:
            result = result_of(opened, store, {})
        finally:
            store.close()
        return _built(render_page(result), card(result) if result.comparisons else None)
    except IsolossError as error:
        return Built(None, "", str(error))


def build_atlas(source: Source, cards: Mapping[str, dict[str, Any]]) -> Built:
    """The atlas over the cards of the ledger's studies (by study id) and those of the results folder."""
    from isoloss.evidence.cards import FiledCard, checked
    from isoloss.report.atlas_page import render_atlas_page
    from isoloss.verbs.atlas import atlas_of, command, filed_cards

    try:
        mine = [FiledCard(f"ledger: {c['study']}", checked(c, c["study"])) for c in cards.values()]
        others = [c for c in filed_cards(source.results) if not c.card.study_id or c.card.study_id not in cards]
        ids = {f.file: f.card.study_id for f in mine}
        found = replace(atlas_of([*mine, *others]), command=command(None, source.results, source.ledger))
        return _built(
            render_atlas_page(found, lambda one: f"/study/{ids[one.card]}/report" if one.card in ids else None)
        )
    except IsolossError as error:
        return Built(None, "", str(error))


def build_origin(source: Source) -> Built:
    """The page on where algorithmic progress came from."""
    from isoloss.report.origin_page import render_origin_page
    from isoloss.verbs.origin import origin

    try:
        return _built(render_origin_page(origin(results=source.results)))
    except IsolossError as error:
        return Built(None, "", str(error))


def _opened(source: Source, filed: Filed) -> Any:
    from isoloss.registry import load_plugin
    from isoloss.study import check_names, parse_study
    from isoloss.verbs.studies import OpenStudy

    where = f"study {filed.name}"
    study = parse_study(filed.text, where)
    if study.plugins and not source.plugins:
        raise StudyError(where, "needs plug-ins, which are code", "start isoloss serve --plugins to let them run")
    base = Path(filed.path).resolve().parent
    plugins: Sequence[Path] = [(base / p).resolve() for p in study.plugins]
    for plugin in plugins:
        if not plugin.is_relative_to(base):
            raise StudyError(
                where, f"the plug-in '{plugin.name}' lies outside the study's folder", "move it beside the study"
            )
        load_plugin(plugin)
    check_names(study, where)
    return OpenStudy(study, filed.text, Path(filed.path), tuple(plugins))


def _built(document: str, card: dict[str, Any] | None = None) -> Built:
    """`document` with the server's own script, which says when there is a newer one, and with its policy."""
    found = _POLICY.search(document)
    assert found is not None, "every page of ours has a policy"
    policy = found[2].replace("&#39;", "'").replace("script-src ", "script-src 'self' ") + "; connect-src 'self'"
    document = document.replace(found[0], f"{found[1]}{policy}{found[3]}", 1)
    head, tail = document.rsplit("</body>", 1)
    live = '<script src="/static/live.js"></script>\n</body>'
    return Built(answer((head + live + tail).encode(), HTML), policy, "", card)
