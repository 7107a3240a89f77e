"""How qualities inside a comparison (always lower-is-better) are turned back into what people of the field read."""

from __future__ import annotations

from dataclasses import dataclass

from isoloss.gains.analysis import StudyResult


@dataclass(frozen=True)
class Quality:
    """The direction of a quality, its unit, and, where higher is better, the value that results measure it from."""

    higher: bool = False
    best: float = 0.0
    unit: str = ""

    @classmethod
    def of(cls, result: StudyResult) -> Quality:
        """The quality of a study."""
        return cls(result.direction == "higher", result.best, result.quality_unit)

    def shown(self, loss: float) -> float:
        """A quality as people see it."""
        return self.best - loss if self.higher else loss

    def ends(self, low: float, high: float) -> tuple[float, float]:
        """An interval as people see it, its lower end first."""
        return (self.shown(high), self.shown(low)) if self.higher else (low, high)
