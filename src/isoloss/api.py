"""Every verb of the command line as one Python call."""

from __future__ import annotations

from isoloss.verbs.names import known, versions
from isoloss.verbs.runs import fit, gain, gain_json, law_json
from isoloss.verbs.studies import OpenStudy, ledger_url, open_study, plan, report, run, status

__all__ = [
    "OpenStudy",
    "fit",
    "gain",
    "gain_json",
    "known",
    "law_json",
    "ledger_url",
    "open_study",
    "plan",
    "report",
    "run",
    "status",
    "versions",
]
