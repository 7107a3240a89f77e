"""Third-party tables: everything published beside ours; writes docs/third-party.md.

command:   python benchmarks/third_party.py                    (one process; about two minutes)
one table: python benchmarks/third_party.py --only marin --no-page
tables:    $ISOLOSS_DATA or the user's cache, as `isoloss fetch` leaves them; else --data FOLDER
expected:  Besiroglu's fit with a slightly better optimum, Porian's and Gemstones' exponents to the third decimal, every
           published constant of Clark's inside our intervals, Marin's gains falling from 1.4 to 1.1 with size

The page holds no number that is not written here, and the same tables give the same page.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from isoloss import api
from isoloss.errors import IsolossError
from isoloss.evidence.fetch import public_tables
from isoloss.report.reproducing import markdown
from isoloss.reproduce import REPRODUCTIONS, Reproduction

PAGE = Path(__file__).resolve().parent.parent / "docs" / "third-party.md"

HEAD = """# Third-party tables: published and ours

Every table here was published by somebody else, with numbers that were fitted to it. `isoloss reproduce NAME` fits or
measures it again and sets the two side by side; `python benchmarks/third_party.py` writes this page. No table is
shipped: `isoloss fetch NAME` brings them, checked by SHA-256 (`isoloss fetch --list` gives source and licence).

*agrees* is **to the digit** where ours rounds to what was printed, **within our interval** where the printed number
lies in our 95% interval, **within theirs** where ours lies in the interval that the paper gives, else **no**.

"""


def page(found: list[Reproduction]) -> str:
    """The page: how many numbers agree, then one section a table."""
    lines = ["| table | published numbers | to the digit | within an interval | no |", "|---|---|---|---|---|"]
    for one in found:
        said = [r.agrees for r in one.rows if r.published is not None]
        near = sum(a.startswith("within") for a in said)
        counts = (len(said), said.count("to the digit"), near, said.count("no"))
        lines.append(f"| [{one.title}](#{_anchor(one.title)}) | " + " | ".join(map(str, counts)) + " |")
    return HEAD + "\n".join(lines) + "\n\n" + "\n".join(markdown(one) for one in found)


def _anchor(title: str) -> str:
    kept = "".join(c for c in title.lower() if c.isalnum() or c in " -")
    return kept.replace(" ", "-")


def main() -> int:
    """Reproduce, print the total time, and write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", action="append", choices=list(REPRODUCTIONS), help="one table (may be repeated)")
    parser.add_argument("--data", type=Path, help="folder that holds the folders of the tables")
    parser.add_argument("--no-page", action="store_true", help="print times only")
    args = parser.parse_args()
    found, start = [], time.perf_counter()
    for name in args.only or REPRODUCTIONS:
        since = time.perf_counter()
        folder = public_tables()[REPRODUCTIONS[name].tables[0]].folder
        try:
            found.append(api.reproduce(name, table=None if args.data is None else args.data / folder))
        except IsolossError as error:
            print(f"{name}: {error}", file=sys.stderr)
            return 2
        print(f"{name}: {time.perf_counter() - since:.1f} s")
    print(f"total: {time.perf_counter() - start:.1f} s")
    if not args.no_page:
        if args.only:
            print("the page needs every table: leave --only out", file=sys.stderr)
            return 2
        PAGE.write_text(page(found), encoding="utf-8")
        print(PAGE)
    return 0


if __name__ == "__main__":
    sys.exit(main())
