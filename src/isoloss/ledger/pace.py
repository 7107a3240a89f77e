"""How fast a study goes and when it may be through: an estimate from the runs that ended while somebody looked."""

from __future__ import annotations

from dataclasses import dataclass, field

from isoloss.ledger.progress import Progress
from isoloss.ledger.status import ENDED, OPEN

#: A rate is over at least so many seconds and runs, as far as they have been seen; below `FEWEST` runs there is none.
SECONDS, RUNS, FEWEST = 60.0, 20, 3


@dataclass(frozen=True)
class Rate:
    """Runs a minute, FLOP a second, and seconds until what is queued has ended: its FLOPs at that rate."""

    runs_per_minute: float
    flops_per_second: float
    seconds_left: float


@dataclass
class Pace:
    """Looks at a study now and then, by the clock of who looks: the ledger's times may be another machine's."""

    _seen: list[tuple[float, int, float]] = field(default_factory=list)

    def see(self, found: Progress, now: float) -> Rate | None:
        """The rate at `now` (seconds of a steady clock); None while too few runs have ended."""
        runs, flops = found.runs(ENDED), found.flops(ENDED)
        if not self._seen or runs < self._seen[-1][1]:  # failed runs were queued again
            self._seen = [(now, runs, flops)]
        elif runs > self._seen[-1][1]:
            self._seen.append((now, runs, flops))
        while len(self._seen) > 2 and now - self._seen[1][0] >= SECONDS and runs - self._seen[1][1] >= RUNS:
            del self._seen[0]
        since, first, before = self._seen[0]
        if runs - first < FEWEST or now <= since or flops <= before:
            return None
        speed = (flops - before) / (now - since)
        return Rate(60 * (runs - first) / (now - since), speed, found.flops(OPEN) / speed)
