"""Every verb of the command line as one Python call."""

from __future__ import annotations

from isoloss.verbs.atlas import atlas, atlas_json, atlas_page
from isoloss.verbs.attribution import attribute, attribution_json, chain, rank, read_gain
from isoloss.verbs.corpora import build_corpus, corpora
from isoloss.verbs.fetching import fetch, fetchable, fetched_json, import_runs
from isoloss.verbs.figures import figure, figures
from isoloss.verbs.fits import LawReport, fit, law_json
from isoloss.verbs.isoflop import isoflop, isoflop_json
from isoloss.verbs.ledgers import export_bundle, import_bundles, prune, rescue, verify
from isoloss.verbs.names import known, versions
from isoloss.verbs.nexts import NextReport, next_json, next_runs
from isoloss.verbs.origin import allocation, origin, origin_json, origin_page
from isoloss.verbs.reproducing import reproduce, reproducible, reproduction_json
from isoloss.verbs.runs import gain, gain_json
from isoloss.verbs.sending import send
from isoloss.verbs.serving import serve
from isoloss.verbs.studies import OpenStudy, ledger_url, open_study, plan, report, run
from isoloss.verbs.watching import Look, look, look_json, status, watch

__all__ = [
    "LawReport",
    "Look",
    "NextReport",
    "OpenStudy",
    "allocation",
    "atlas",
    "atlas_json",
    "atlas_page",
    "attribute",
    "attribution_json",
    "build_corpus",
    "chain",
    "corpora",
    "export_bundle",
    "fetch",
    "fetchable",
    "fetched_json",
    "figure",
    "figures",
    "fit",
    "gain",
    "gain_json",
    "import_bundles",
    "import_runs",
    "isoflop",
    "isoflop_json",
    "known",
    "law_json",
    "ledger_url",
    "look",
    "look_json",
    "next_json",
    "next_runs",
    "open_study",
    "origin",
    "origin_json",
    "origin_page",
    "plan",
    "prune",
    "rank",
    "read_gain",
    "report",
    "reproduce",
    "reproducible",
    "reproduction_json",
    "rescue",
    "run",
    "send",
    "serve",
    "status",
    "verify",
    "versions",
    "watch",
]
