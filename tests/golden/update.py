"""Measure the golden points again and write the lines of `fingerprints.csv` that changed, with the reason.

    python -m tests.golden.update                  prints what changed; writes nothing if anything did
    python -m tests.golden.update --reason "..."   prints what changed and writes it

Run it at the root of the checkout. To add a point, add a line to the table that names it and leaves the
rest empty (`linux-6.13,desktop-8,mmap,low,4,2025,,,,,,,`), and run the command; to drop one, delete its line.
After a conflict of two branches keep the points of both, with the results of either, and run it once more.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from sim.errors import CortensimError

from . import fingerprints
from .fingerprints import TABLE, Line, changes, measure, report


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit code: 0 done, 2 nothing written because a reason is missing or the table is faulty."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.golden.update", description="Update golden fingerprints."
    )
    parser.add_argument("--reason", default="", help="why results change: one line for the reviewer")
    given = parser.parse_args(arguments)
    try:
        return update(TABLE, " ".join(given.reason.split()))
    except CortensimError as error:
        print(error, file=sys.stderr)
        return 2


def update(path: Path, reason: str) -> int:
    """As `main`, for the table at *path*."""
    table = fingerprints.read(path)
    found = {key: measure(key) for key in table}
    changed = changes(table, found)
    if not changed:
        print(f"all {len(table)} golden points are as they were")
    else:
        print(report(changed, len(table)))
    if changed and not reason:
        print('nothing is written: say why these results change with --reason "..."', file=sys.stderr)
        return 2
    table |= {key: Line(found[key], reason) for key in changed}
    fingerprints.write(table, path)
    return 0


if __name__ == "__main__":
    sys.exit(main())
