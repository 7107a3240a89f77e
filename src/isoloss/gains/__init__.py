"""Equivalent gain: how many times less of a resource a candidate needs to match a baseline."""

from isoloss.gains.arms import ArmRuns
from isoloss.gains.compare import compare
from isoloss.gains.power import seeds_to_resolve, smallest_resolvable_gain
from isoloss.gains.result import GainCurve, to_json

__all__ = ["ArmRuns", "GainCurve", "compare", "seeds_to_resolve", "smallest_resolvable_gain", "to_json"]
