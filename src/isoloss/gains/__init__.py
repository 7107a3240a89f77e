"""Equivalent gain: how many times less of a resource a candidate needs to match a baseline."""

from isoloss.gains.aa import AACheck, aa_check
from isoloss.gains.arms import ArmRuns
from isoloss.gains.chain import Chain, GainChain, chain_at, compose
from isoloss.gains.compare import compare
from isoloss.gains.factorial import Attribution, attribute
from isoloss.gains.function import GainFunction
from isoloss.gains.power import seeds_to_resolve, smallest_resolvable_gain
from isoloss.gains.ranking import Ranking, many_candidates, rank
from isoloss.gains.result import GainCurve, to_json
from isoloss.gains.sequence import ArmSequence, sequence

__all__ = [
    "AACheck",
    "ArmRuns",
    "ArmSequence",
    "Attribution",
    "Chain",
    "GainChain",
    "GainCurve",
    "GainFunction",
    "Ranking",
    "aa_check",
    "attribute",
    "chain_at",
    "compare",
    "compose",
    "many_candidates",
    "rank",
    "seeds_to_resolve",
    "sequence",
    "smallest_resolvable_gain",
    "to_json",
]
