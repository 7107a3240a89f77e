"""Which rows of a stranger's table a law may be fitted to: the checks of `isoloss gain`, where they bear on a law."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
from numpy.typing import NDArray

from isoloss.errors import TableError
from isoloss.gains.result import Diagnostic
from isoloss.ledger import refusals
from isoloss.ledger.columns import guess_roles

if TYPE_CHECKING:
    from isoloss.laws import Law

#: A loss this many times above every ordinary one is a run that diverged and was written down as a number.
EXPLODED = 100.0
#: Laws in one column that only fall.
_FALLING = frozenset({"power", "power-floor", "shifted", "bounded"})
_ARM = "isoloss.arm"


@dataclass(frozen=True, eq=False)
class LawRows:
    """Rows of a table with their numbers in the file, the loss and the law's columns by name (`named`), arms if any."""

    path: Path
    frame: pl.DataFrame
    rows: pl.Series
    score: str
    named: Mapping[str, str]
    arms: pl.Series | None

    def check(self, form: Law, x: Mapping[str, NDArray[np.float64]], y: NDArray[np.float64], clustered: bool) -> None:
        """Refuse numbers that are not positive, logged points, mixed metrics, copies, and a loss that only rises.

        Logged points pass where a column of clusters was named: they are then resampled run by run. Raises TableError.
        """
        for column, values in (*((self.named[c], v) for c, v in x.items()), (self.score, y)):
            wrong = ~(np.isfinite(values) & (values > 0))
            if wrong.any():
                at = int(np.argmax(wrong))
                what = f"row {self.rows[at]}: {values[at]:g} is not finite and positive"
                raise TableError(f"{self.path}: {column}", what, "correct or remove that run")
        frame, roles = self._with_roles()
        if not clustered and (found := refusals.find_log(frame, roles)) is not None:
            step, keys = found
            run = next((k for k in keys if k != _ARM), "run_id")
            raise TableError(
                f"{self.path}: {step}",
                "rises along one run: these are logged points, not finished runs",
                f"keep the ends with isoloss import --curves end, or say --cluster-column {run} to use every point",
            )
        self.refuse_mixture()
        if form.name in _FALLING:
            code = np.zeros(len(y), np.int64) if self.arms is None else _codes(self.arms)
            amount = next(iter(x.values()))
            rung = np.unique(amount, return_inverse=True)[1].astype(np.int64)
            where, worse = f"{self.path}: {self.score}", "gets worse with the resource, rung after rung, in every arm"
            if refusals.rises(code, amount, rung, y):
                raise TableError(where, worse, "if it is a score make it an error (1 - accuracy)")

    def refuse_mixture(self) -> None:
        """Refuse several metrics, data sets or tokenisers in one table, and rows that are copies. Raises TableError."""
        frame, roles = self._with_roles()
        refusals.refuse_mixed(self.path, frame, roles)
        refusals.refuse_copies(self.path, frame, roles, self.rows)

    def notes(self, x: Mapping[str, NDArray[np.float64]]) -> tuple[Diagnostic, ...]:
        """A caution where runs of equal size and budget differ in a setting: the law then follows the sweep's mean."""
        frame, roles = self._with_roles()
        code = np.zeros(frame.height, np.int64) if self.arms is None else _codes(self.arms)
        cell = np.unique(np.stack([code, *x.values()]), axis=1, return_inverse=True)[1].reshape(-1)
        taken = {f"law {c}": column for c, column in self.named.items()}
        try:
            refusals.refuse_sweep(self.path, frame, roles | taken, pl.Series("cell", cell), self.rows, "seed" in roles)
        except TableError as error:
            column = error.where.removeprefix(f"{self.path}: ")
            said = (
                f"Column '{column}': runs that are alike in the law's columns differ in it (a sweep's trials?), so the "
                "law describes their mean; keep the best of each with --where."
            )
            return (Diagnostic("sweep-in-law", "warning", said, {"column": column}),)
        return ()

    def _with_roles(self) -> tuple[pl.DataFrame, dict[str, str]]:
        """The frame with an arm in every row, and the roles that can be told of its other columns."""
        arms = pl.Series(_ARM, [""] * self.frame.height) if self.arms is None else self.arms.alias(_ARM)
        frame = self.frame.with_columns(arms)
        first = next(iter(self.named.values()))
        roles = guess_roles(self.path, frame, {"arm": _ARM, "resource": first, "quality": self.score})
        return frame, roles


def exploded(y: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Rows whose loss stands ``EXPLODED`` times or more above the ordinary ones, being fewer than half of all.

    >>> exploded(np.array([2.0, 3.0, 1e30, 2.5])).tolist()
    [False, False, True, False]
    """
    finite = np.sort(y[np.isfinite(y) & (y > 0)])
    half = (len(finite) + 1) // 2
    jumps = np.flatnonzero(finite[1:] >= EXPLODED * finite[:-1])
    jumps = jumps[jumps + 1 >= half]
    if len(finite) < 3 or len(jumps) == 0:
        return np.zeros(len(y), dtype=bool)
    return np.isfinite(y) & (y > finite[jumps[0]])


def _codes(arms: pl.Series) -> NDArray[np.int64]:
    return np.unique(arms.to_numpy().astype(str), return_inverse=True)[1].astype(np.int64)
