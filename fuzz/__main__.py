"""``python -m fuzz``: fuzz every reader from a printed seed; ``--replay target:number`` tries one input again."""

from __future__ import annotations

import argparse
import os
import random
import shutil
import sys
import tempfile
import time
import warnings
from pathlib import Path
from random import Random

from fuzz.pool import SECONDS, Fault, Tally, attempt, fuzz
from fuzz.targets import TARGETS

KEPT = Path("fuzz-faults")


def main() -> int:
    """Run, print a line a target, keep the inputs of faults; 1 where there is one."""
    parser = argparse.ArgumentParser(prog="python -m fuzz", description=__doc__)
    parser.add_argument("--inputs", type=int, default=1_000_000, help="how many in all")
    parser.add_argument("--seed", type=int, default=None, help="of all inputs; default: a new one, which is printed")
    parser.add_argument("--target", action="append", choices=sorted(TARGETS), help="only this one (repeatable)")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--seconds", type=float, default=SECONDS, help="the longest that an input may take")
    parser.add_argument("--replay", metavar="TARGET:NUMBER", help="one input of --seed again, with its traceback")
    asked = parser.parse_args()
    seed = random.randrange(10**9) if asked.seed is None else asked.seed
    if asked.replay:
        return _replay(seed, asked.replay, asked.seconds)
    print(f"seed {seed}, {asked.inputs:,} inputs, {asked.workers} workers", flush=True)
    began = time.monotonic()
    tallies = fuzz(asked.inputs, seed, asked.target or list(TARGETS), asked.workers, asked.seconds, _Told())
    _print(tallies, time.monotonic() - began)
    faults = [f for t in tallies.values() for f in t.faults]
    for kept, of in _distinct(faults):
        print(f"\n{kept.target}:{kept.number} ({of} alike) {kept.said}\n{kept.trace}".rstrip())
        print(f"again: python -m fuzz --seed {seed} --replay {kept.target}:{kept.number}; input: {_keep(seed, kept)}")
    return 1 if faults else 0


class _Told:
    """The count so far, a line every half minute."""

    def __init__(self) -> None:
        self._next = time.monotonic() + 30

    def __call__(self, done: int) -> None:
        if time.monotonic() >= self._next:
            self._next += 30
            print(f"  {done:,} inputs", file=sys.stderr, flush=True)


def _print(tallies: dict[str, Tally], seconds: float) -> None:
    inputs = sum(t.inputs for t in tallies.values())
    print(f"{'target':12} {'inputs':>9} {'share':>6} {'read':>9} {'refused':>9} {'faults':>6} {'ms each':>8}")
    for name, t in tallies.items():
        share, each = t.inputs / inputs, 1e3 * t.seconds / max(t.inputs, 1)
        print(f"{name:12} {t.inputs:9,} {share:6.1%} {t.returned:9,} {t.refused:9,} {len(t.faults):6} {each:8.2f}")
    faults = sum(len(t.faults) for t in tallies.values())
    print(f"{inputs:,} inputs in {seconds:.0f} s ({inputs / seconds:,.0f} a second): {faults} faults")


def _distinct(faults: list[Fault]) -> list[tuple[Fault, int]]:
    """The first of each kind of fault, and how many there are of it."""
    found: dict[tuple[str, str, str], list[Fault]] = {}
    for fault in faults:
        frames = [line for line in fault.trace.splitlines() if line.startswith("  File")]
        found.setdefault((fault.target, fault.said.split(":")[0], frames[-1] if frames else ""), []).append(fault)
    return [(kind[0], len(kind)) for kind in found.values()]


def _keep(seed: int, fault: Fault) -> Path:
    folder = KEPT / f"{fault.target}-{seed}-{fault.number}"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    given = TARGETS[fault.target].make(Random(f"{seed}:{fault.target}:{fault.number}"), folder)
    (folder / "fault.txt").write_text(f"{given!r}\n{fault.said}\n{fault.trace}", errors="backslashreplace")
    return folder


def _replay(seed: int, which: str, seconds: float) -> int:
    target, _, number = which.partition(":")
    with tempfile.TemporaryDirectory() as scratch, warnings.catch_warnings():
        warnings.simplefilter("error")
        kind, fault = attempt(TARGETS[target], seed, int(number), Path(scratch), seconds)
    print(kind if fault is None else f"{fault.said}\n{fault.trace}")
    return 0 if fault is None else 1


if __name__ == "__main__":
    sys.exit(main())
