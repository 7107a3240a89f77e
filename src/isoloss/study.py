"""A study file: one question, the arms that answer it, the ladder they climb, and how they are tuned.

TOML, checked field by field; unknown keys are refused by name. Nothing here trains, fits or imports torch.
"""

from __future__ import annotations

import difflib
import hashlib
import itertools
import json
import math
import re
import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from isoloss.errors import StudyError, UnknownNameError, and_more, printable
from isoloss.runs import RESOURCES

Number = int | float
#: Bytes of the longest study file: what its specs hold then fits a record in any ledger or bundle.
LARGEST = 256 << 10
_PARTS = 100
_LONG_KEY = re.compile(rf"""(?<![\w-])(?:(?:[\w-]+|"[^"\n]*"|'[^'\n]*')[ \t]*\.[ \t]*){{{_PARTS}}}""")
Name = r"^[A-Za-z0-9][A-Za-z0-9._+-]{0,63}$"


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


def _later(default: Any, **limits: Any) -> Any:
    """A field that came after the first studies: one that does not use it keeps its `study_id`."""
    return Field(default, exclude_if=lambda value: value == default, **limits)


def _known_resource(value: str) -> str:
    if value not in RESOURCES:
        near = difflib.get_close_matches(value, RESOURCES, n=1, cutoff=0.6)
        raise ValueError(
            f"unknown resource '{value}'" + (f"; did you mean {near[0]}?" if near else "; see `isoloss list resources`")
        )
    return value


class TaskRef(_Part):
    """Which task, with its options."""

    name: str
    options: dict[str, Any] = {}


class Rule(_Part):
    """How many optimiser steps a run takes where the ladder resource is not compute."""

    kind: Literal["constant", "epochs"]
    value: float = Field(gt=0)


class Ladder(_Part):
    """Budgets of one resource, smallest first."""

    resource: str
    rungs: tuple[float, ...] = Field(min_length=2)
    step_rule: Rule | None = None

    @field_validator("resource")
    @classmethod
    def _known(cls, value: str) -> str:
        return _known_resource(value)

    @field_validator("rungs")
    @classmethod
    def _upward(cls, value: tuple[float, ...]) -> tuple[float, ...]:
        if any(v <= 0 for v in value):
            raise ValueError("budgets must be positive")
        if any(b <= a for a, b in itertools.pairwise(value)):
            raise ValueError("the ladder is upside down or repeats a rung: list budgets from smallest to largest")
        return value

    @model_validator(mode="after")
    def _rule(self) -> Ladder:
        if self.resource == "train_flops" and self.step_rule is not None:
            raise ValueError("a ladder over train_flops takes no step_rule: the budget decides the steps")
        if self.resource != "train_flops" and self.step_rule is None:
            raise ValueError(
                f"a ladder over {self.resource} must state its step_rule, e.g. {{ kind = 'constant', value = 300 }}"
            )
        return self


class Axis(_Part):
    """The values tried of one choice: listed, or `points` values of ratio `factor` around `centre`.

    `min` and `max` are natural limits beyond which the sweep never widens (a best value there is no edge).
    """

    values: tuple[Number, ...] | None = None
    centre: float | None = Field(default=None, gt=0)
    factor: float | None = Field(default=None, gt=1)
    points: int | None = Field(default=None, ge=1, le=99)
    min: float | None = None
    max: float | None = None

    @model_validator(mode="after")
    def _one_form(self) -> Axis:
        geometric = (self.centre, self.factor, self.points)
        if self.values is None and any(v is None for v in geometric):
            raise ValueError("give either `values` or all of `centre`, `factor` and `points`")
        if self.values is not None:
            if any(v is not None for v in geometric):
                raise ValueError("give either `values` or `centre`/`factor`/`points`, not both")
            if not self.values or any(b <= a for a, b in itertools.pairwise(self.values)):
                raise ValueError("`values` must be listed from smallest to largest, without repeats")
            if self.values[0] <= 0:
                raise ValueError("swept values must be positive")
        return self

    def grid(self) -> tuple[Number, ...]:
        """The values of the first round, ascending.

        >>> Axis(centre=0.01, factor=10, points=3).grid()
        (0.001, 0.01, 0.1)
        """
        if self.values is not None:
            return self.values
        assert self.centre is not None and self.factor is not None and self.points is not None
        offsets = (i - (self.points - 1) / 2 for i in range(self.points))
        # rounded so that a grid is the same number however it was reached: it is part of a run's identity
        return tuple(float(f"{self.centre * self.factor**k:.6g}") for k in offsets)

    @property
    def ratio(self) -> float:
        """The ratio between neighbouring values, used to widen."""
        if self.factor is not None:
            return self.factor
        assert self.values is not None
        return self.values[-1] / self.values[-2] if len(self.values) > 1 else 2.0

    def beyond(self, value: Number, side: Literal["low", "high"]) -> Number | None:
        """The next value past the edge `value`, or None at a natural limit."""
        wanted = value / self.ratio if side == "low" else value * self.ratio
        if (self.min is not None and wanted < self.min) or (self.max is not None and wanted > self.max):
            return None
        return self.rounded(wanted)

    def rounded(self, value: float) -> Number:
        """`value` in the axis's own type: whole where the listed values are whole."""
        if self.values is not None and all(isinstance(v, int) for v in self.values):
            return round(value)
        return float(f"{value:.6g}")


class Numerics(_Part):
    """What the arithmetic of runs is; each key is part of a run's identity.

    `dtype`: of the operands of matrix products, everything else being float32; `matmul`: ``onednn`` makes float32
    products by that library, which is faster on AMD processors; `compiled`: loss and gradient are compiled as one
    graph; `shards`: so many threads make the gradient of a batch, each of its share of the rows.
    """

    dtype: Literal["float32", "bfloat16"] | None = _later(None)
    matmul: Literal["default", "onednn"] | None = _later(None)
    compiled: bool | None = _later(None)
    shards: int | None = _later(None, ge=1, le=256)

    @field_validator("dtype", mode="before")
    @classmethod
    def _no_half(cls, value: Any) -> Any:
        if value == "float16":
            raise ValueError("float16 is 80 to 160 times slower than float32 on a CPU: use bfloat16")
        return value

    def over(self, below: Numerics) -> Numerics:
        """These, and those of `below` where nothing is said here."""
        return Numerics(**{**below.model_dump(), **self.model_dump()})

    def of_runs(self) -> dict[str, Any]:
        """``RunSpec.numerics``: what came later is left out where it is not used. Raises `ValueError` for two that do
        not go together."""
        if self.matmul == "onednn" and (self.dtype == "bfloat16" or self.compiled):
            raise ValueError("numerics: matmul 'onednn' is for float32 that is not compiled; leave it out")
        if self.compiled and (self.shards or 1) > 1:
            raise ValueError("numerics: shards are for runs that are not compiled; leave them out")
        # "stack" says nothing; without it, no run would have the id that it is on record under
        found: dict[str, Any] = {"dtype": self.dtype or "float32", "compiled": bool(self.compiled), "stack": 1}
        if self.matmul == "onednn":
            found["matmul"] = "onednn"
        return found if (self.shards or 1) == 1 else found | {"shards": self.shards}


class Arm(_Part):
    """One algorithm as it takes part: innovations taken in or left out, fixed `settings` on top, swept choices.

    `innovations` set their `new` choices, those in `without` their `old` ones, in the order listed. `twin` names the
    arm that this one is a copy of (A/A): everything is taken from there, trials and seeds are its own. `seed_block`
    moves an arm to seeds of its own; a twin gets one by itself. `numerics` stand on top of the study's.
    """

    algorithm: str
    twin: str | None = _later(None)
    innovations: tuple[str, ...] = _later(())
    without: tuple[str, ...] = _later(())
    settings: dict[str, Any] = {}
    sweep: dict[str, Axis] = {}
    seed_block: int = Field(default=0, ge=0, le=1000)
    numerics: Numerics = _later(Numerics())

    @field_validator("settings")
    @classmethod
    def _finite(cls, value: dict[str, Any]) -> dict[str, Any]:
        for name, given in value.items():
            if isinstance(given, float) and not math.isfinite(given):
                raise ValueError(f"settings.{name} is {given}, not a finite number")
        return value


class Tuning(_Part):
    """Equal tuning of every arm at every rung.

    `seeds` per trial; `widen`: once, where a best value lies at an edge; `finalists`: how many of the best trials are
    trained again on `finalist_seeds` more seeds before one is chosen on the mean (0: no second look).

    `swept_rungs`: only so many of the first rungs try the whole grid; at the rungs beyond, every swept choice is
    predicted by its law across them (see `isoloss.planning.carry`) and `check` trials around the prediction are made,
    a factor apart in `check_axis` (left out: ``lr`` where an arm sweeps it, else the arm's first swept choice).

    `drop`: of the grid, the middle trial is made first; another is given up once its training loss, from a fifth of
    its steps on, exceeds the middle one's there by this share. It counts as a trial, and is not chosen.
    """

    seeds: int = Field(default=1, ge=1, le=100)
    widen: bool = True
    finalists: int = Field(default=0, ge=0, le=100)
    finalist_seeds: int = Field(default=1, ge=1, le=100)
    swept_rungs: int | None = _later(None, ge=1)
    check: int = _later(3, ge=1, le=99)
    check_axis: str | None = _later(None)
    drop: float | None = _later(None, gt=0, le=10)


class Report(_Part):
    """Fresh seeds at the chosen trial, the only runs whose quality is reported; `top_seeds` of them at the last rung
    where that is given."""

    seeds: int = Field(default=3, ge=1, le=1000)
    top_seeds: int | None = _later(None, ge=1, le=1000)


class Comparison(_Part):
    """Which arm against which, in which resource, and how; `innovation` names the registered innovation it measures.

    `resource`: what the gain is in, any entry of the resource vector; the ladder's where it is left out. `mode`:
    ``curve`` compares quality along it, ``frontier`` only rungs that no cheaper one beats, ``exact`` runs of equal
    quality by construction, pair by pair.
    """

    baseline: str
    candidate: str
    innovation: str | None = _later(None)
    mode: Literal["curve", "frontier", "exact"] = _later("curve")
    resource: str | None = _later(None)

    @field_validator("resource")
    @classmethod
    def _known(cls, value: str | None) -> str | None:
        return value if value is None else _known_resource(value)


class Study(_Part):
    """The whole of a study file."""

    name: str = Field(pattern=Name)
    question: str = Field(min_length=1, max_length=1000)
    task: TaskRef
    ladder: Ladder
    arms: dict[str, Arm] = Field(min_length=2)
    comparisons: tuple[Comparison, ...] = Field(min_length=1)
    tuning: Tuning = Tuning()
    report: Report = Report()
    floor: Literal["shared", "free"] | float | None = None
    numerics: Numerics = _later(Numerics())
    plugins: tuple[str, ...] = ()

    @model_validator(mode="before")
    @classmethod
    def _twins(cls, data: Any) -> Any:
        arms = data.get("arms") if isinstance(data, dict) else None
        if not isinstance(arms, dict):
            return data
        copied = {name: _copy(arms, name) for name, arm in arms.items() if isinstance(arm, dict) and arm.get("twin")}
        for name, arm in copied.items():
            others = [o for n, o in copied.items() if o["twin"] == arm["twin"] and n != name]
            taken = [arms[arm["twin"]].get("seed_block", 0), *(o.get("seed_block") for o in others)]
            if arm.get("seed_block") is None:
                arm["seed_block"] = next(i for i in itertools.count(1) if i not in taken)
            elif arm["seed_block"] in taken:
                raise ValueError(f"arms.{name}.seed_block is its twin's too: leave it out, a twin gets its own")
        return {**data, "arms": {**arms, **copied}}

    @field_validator("arms")
    @classmethod
    def _arm_names(cls, value: dict[str, Arm]) -> dict[str, Arm]:
        for name in value:
            if not name or len(name) > 64 or not name.isprintable():
                raise ValueError(f"arm name {name[:40]!r} must be 1 to 64 printable characters")
        return value

    @model_validator(mode="after")
    def _comparisons_exist(self) -> Study:
        for i, c in enumerate(self.comparisons):
            for role in ("baseline", "candidate"):
                arm = getattr(c, role)
                if arm not in self.arms:
                    near = difflib.get_close_matches(arm, self.arms, n=1, cutoff=0.4)
                    hint = f"did you mean {near[0]}?" if near else f"arms: {', '.join(self.arms)}"
                    raise ValueError(f"comparisons[{i}].{role} '{arm}' is not an arm; {hint}")
            if c.baseline == c.candidate:
                hint = f"a copy of it is an arm with twin = '{c.baseline}'"
                raise ValueError(f"comparisons[{i}] compares '{c.baseline}' with itself; {hint}")
            if c.mode == "exact" and self.is_twin(c):
                hint = "a copy has seeds of its own, so no run of it has a partner: use mode 'curve'"
                raise ValueError(f"comparisons[{i}].mode 'exact' does not go with a twin; {hint}")
        return self

    @model_validator(mode="after")
    def _tuning_fits(self) -> Study:
        tuning = self.tuning
        if tuning.swept_rungs is None and tuning.check_axis is not None:
            raise ValueError("tuning.check_axis does nothing without swept_rungs: say how many rungs are swept whole")
        if tuning.swept_rungs is not None and tuning.swept_rungs > len(self.ladder.rungs):
            raise ValueError(f"tuning.swept_rungs is {tuning.swept_rungs}, but the ladder has {len(self.ladder.rungs)}")
        swept = sorted({name for arm in self.arms.values() for name in arm.sweep})
        if tuning.check_axis is not None and tuning.check_axis not in swept:
            near = difflib.get_close_matches(tuning.check_axis, swept, n=1, cutoff=0.4)
            hint = f"did you mean {near[0]}?" if near else f"swept: {', '.join(swept) or 'nothing'}"
            raise ValueError(f"tuning.check_axis '{tuning.check_axis}' is swept by no arm; {hint}")
        return self

    def is_twin(self, pair: Comparison) -> bool:
        """Whether `pair` compares an arm with its copy, or two copies of one arm."""
        a, b = pair.baseline, pair.candidate
        return (self.arms[a].twin or a) == (self.arms[b].twin or b)

    @property
    def swept_rungs(self) -> tuple[float, ...]:
        """The rungs at which the whole grid is tried."""
        return self.ladder.rungs[: self.tuning.swept_rungs]

    @property
    def carried_rungs(self) -> tuple[float, ...]:
        """The rungs at which the swept choices are predicted from the rungs below and checked."""
        return self.ladder.rungs[len(self.swept_rungs) :]

    def report_seeds(self, rung: float) -> int:
        """How many seeds are reported at `rung`."""
        top = self.report.top_seeds
        return top if top is not None and rung == self.ladder.rungs[-1] else self.report.seeds

    def numerics_of(self, arm: str) -> dict[str, Any]:
        """``RunSpec.numerics`` of the runs of `arm`."""
        return self.arms[arm].numerics.over(self.numerics).of_runs()

    @model_validator(mode="after")
    def _numerics_fit(self) -> Study:
        for arm in self.arms:
            self.numerics_of(arm)
        return self

    @property
    def study_id(self) -> str:
        """Digest of everything the study says: an edited study is another study over the same runs."""
        text = json.dumps(self.model_dump(mode="json"), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()[:16]


def _copy(arms: dict[str, Any], name: str) -> dict[str, Any]:
    """The arm `name`, a twin, with everything that it takes from its original."""
    arm, original = arms[name], arms[name]["twin"]
    known = [n for n, a in arms.items() if isinstance(a, dict) and not a.get("twin")]
    if original not in known:
        near = difflib.get_close_matches(str(original), known, n=1, cutoff=0.4)
        what = "is a twin itself" if isinstance(original, str) and original in arms else "is not an arm"
        hint = f"did you mean {near[0]}?" if near else f"arms: {', '.join(known)}"
        raise ValueError(f"arms.{name}.twin '{str(original)[:60]}' {what}; {hint}")
    for key, value in arm.items():
        if key not in ("twin", "seed_block") and (key not in arms[original] or value != arms[original][key]):
            raise ValueError(f"arms.{name}.{key} differs from {original}'s, whose copy it is; leave it out")
    return {**{k: v for k, v in arms[original].items() if k != "seed_block"}, **arm}


def read_study(path: Path) -> tuple[Study, str]:
    """The study in the TOML file `path`, checked, and the file's text. Raises `StudyError` in one line."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise StudyError(path, "no such study file", "see `isoloss list studies` or write one") from None
    except IsADirectoryError:
        raise StudyError(path, "is a folder, not a study file", "name one of the .toml files in it") from None
    except UnicodeDecodeError as error:
        raise StudyError(path, f"is not UTF-8 text (byte {error.start})", "a study is a TOML file") from None
    except OSError as error:
        raise StudyError(path, f"can't be read ({error.strerror})") from None
    if len(text.encode()) > LARGEST:
        said = f"holds {len(text.encode()):,} bytes, and a study at most {LARGEST:,}"
        raise StudyError(path, said, "keep long texts in files of their own, and name those")
    study = parse_study(text, path)
    base = path.resolve().parent
    for plugin in study.plugins:
        if "\0" in plugin or not (base / plugin).resolve().is_relative_to(base):
            raise StudyError(
                f"{path}: plugins",
                f"'{printable(plugin, 60)}' lies outside the study's folder",
                "move it beside the study",
            )
    return study, text


def parse_study(text: str, where: object) -> Study:
    """The study that the TOML `text` is, checked but for its plug-ins. Raises `StudyError` naming `where`."""
    if long := _LONG_KEY.search(text):  # the parser's memory grows as the square of a key's parts
        line = text.count("\n", 0, long.start()) + 1
        raise StudyError(where, f"has a key of more than {_PARTS} parts at line {line}", "mend that line")
    try:
        data = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError, ValueError) as error:
        raise StudyError(where, f"is not valid TOML: {error}", _toml_remedy(text, str(error))) from None
    try:
        study = Study.model_validate(data)
        study.study_id  # noqa: B018 - what can't be written can't be kept
    except ValidationError as error:
        raise StudyError(*_first_fault(where, data, error)) from None
    except (RecursionError, ValueError) as error:
        raise StudyError(where, f"can't be kept: {str(error)[:80]}", "is it nested too deeply?") from None
    return study


def _toml_remedy(text: str, said: str) -> str:
    """What to do about a fault that the parser names by its line: shown, since people forget quotes most often."""
    found = re.search(r"at line (\d+)", said)
    lines = text.splitlines()
    line = lines[int(found[1]) - 1].strip() if found and int(found[1]) <= len(lines) else ""
    unquoted = re.fullmatch(r"([\w.-]+)\s*=\s*([A-Za-z][^\"'#]*?)\s*(#.*)?", line)
    if unquoted and said.startswith("Invalid value"):
        return f'a string needs quotes: {unquoted[1]} = "{unquoted[2]}"'
    return f"mend that line: {printable(line, 80)}" if line else "mend that line"


def check_names(study: Study, where: object) -> None:
    """Raise `UnknownNameError` with the nearest names unless task, algorithms and innovations are registered."""
    from isoloss.algorithms import algorithms
    from isoloss.algorithms.innovation import innovations
    from isoloss.tasks import tasks

    # a part of one's own is known only once its file is loaded
    hint = "" if study.plugins else 'If a file of yours registers it, add plugins = ["FILE.py"] to the study.'

    def look_up(field: str, kind: str, name: str, known: Iterable[str]) -> None:
        if name not in known:
            raise UnknownNameError(f"{where}: {field}", kind, name, known, hint)

    look_up("task.name", "task", study.task.name, tasks.names())
    for name, arm in study.arms.items():
        look_up(f"arms.{name}.algorithm", "algorithm", arm.algorithm, algorithms.names())
        for key in ("innovations", "without"):
            for innovation in getattr(arm, key):
                look_up(f"arms.{name}.{key}", "innovation", innovation, innovations.names())
    for i, pair in enumerate(study.comparisons):
        if pair.innovation is not None:
            look_up(f"comparisons[{i}].innovation", "innovation", pair.innovation, innovations.names())


def _first_fault(path: object, data: dict[str, Any], error: ValidationError) -> tuple[str, str, str]:
    """Where, what and remedy of the most telling of pydantic's complaints."""
    faults = error.errors(include_url=False)
    faults.sort(key=lambda f: f["type"] != "extra_forbidden")  # a misspelt key explains a missing one
    fault = faults[0]
    field = ".".join(str(part) for part in fault["loc"]) or "study"
    more = and_more(len(faults))
    if fault["type"] == "extra_forbidden":
        known = _fields_at(fault["loc"][:-1])
        near = difflib.get_close_matches(str(fault["loc"][-1]), known, n=1, cutoff=0.4)
        return (
            f"{path}: {field}",
            "unknown key" + more,
            f"did you mean {near[0]}?" if near else f"known: {', '.join(known)}",
        )
    if fault["type"] == "missing":
        return f"{path}: {field}", "is missing" + more, "add it"
    said = fault["msg"].removeprefix("Value error, ")
    if fault["type"] == "string_pattern_mismatch":  # only a name has a pattern
        said = "must be 1 to 64 of the letters A to Z, digits and . _ + -, and begin with a letter or a digit"
    value = fault.get("input")
    shown = "" if isinstance(value, (dict, list)) or str(value) in said else f" (got {str(value)[:60]!r})"
    return f"{path}: {field}", said[0].lower() + said[1:] + shown + more, ""


def _fields_at(location: tuple[int | str, ...]) -> list[str]:
    """Names of the fields that the schema allows at `location`."""
    model: type[BaseModel] = Study
    parts: dict[str, type[BaseModel]] = {
        "task": TaskRef, "ladder": Ladder, "step_rule": Rule, "arms": Arm, "tuning": Tuning, "report": Report,
        "comparisons": Comparison, "sweep": Axis, "numerics": Numerics,
    }  # fmt: skip
    for part in location:
        model = parts.get(str(part), model)
    return list(model.model_fields)


def geometric_middle(a: Number, b: Number) -> float:
    """The value halfway between `a` and `b` in ratio."""
    return math.sqrt(a * b)
