"""Measure how fast the simulator is: one command, one table (docs/performance.md).

python -m benchmarks                         all parts, on the terminal
python -m benchmarks --write                 and into the table of docs/performance.md
python -m benchmarks delays shootdown        these parts only
python -m benchmarks operations --against ../old     in turns with the model of another checkout
python -m benchmarks --check                 fails if the model executes more than it did
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path
from time import perf_counter
from types import ModuleType
from typing import Final

from benchmarks import (
    contended_lock,
    delays,
    host,
    instructions,
    memory,
    operations,
    shootdown,
    startup,
    table,
)
from benchmarks.checkout import ROOT
from benchmarks.options import Options

PAGE: Final = ROOT / "docs" / "performance.md"
PARTS: Final[dict[str, ModuleType]] = {
    "delays": delays,
    "lock": contended_lock,
    "shootdown": shootdown,
    "operations": operations,
    "memory": memory,
    "commands": startup,
    "instructions": instructions,
}


def arguments() -> argparse.ArgumentParser:
    """What the command takes."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"of {', '.join(PARTS)}; none: all of them")
    parser.add_argument("--quick", action="store_true", help="fewer rounds, cpus and pages, no whole figure")
    parser.add_argument("--against", type=Path, metavar="DIR", help="another checkout, simulated in turns")
    parser.add_argument("--cimba", metavar="PYTHON", help="an interpreter that has the package cimba")
    parser.add_argument("--cpus", type=_cpus, help=f"of simulated operations, of {operations.CPUS}")
    parser.add_argument("--write", action="store_true", help=f"write the table of {PAGE.relative_to(ROOT)}")
    parser.add_argument("--check", action="store_true", help="only compare instructions with those kept")
    parser.add_argument("--keep", action="store_true", help="only count instructions, and keep them")
    return parser


def main(words: list[str] | None = None) -> int:
    parser = arguments()
    given = parser.parse_args(words)
    if unknown := [part for part in given.parts if part not in PARTS]:
        parser.error(f"no part {', '.join(unknown)}: they are {', '.join(PARTS)}")
    if given.write and given.quick:
        parser.error("--quick measures too little to be written")
    if given.against is not None and not (given.against / "sim").is_dir():
        parser.error(f"{given.against} is no checkout: it has no folder sim")
    if given.check or given.keep:
        return _counts(keep=given.keep)
    against = given.against.resolve() if given.against else None
    measured = _measured(given.parts or list(PARTS), Options(given.quick, against, given.cimba, given.cpus))
    print(measured.text())
    if given.write:
        page = PAGE.read_text(encoding="utf-8")
        try:
            page = table.merged(page, measured, [part.TITLE for part in PARTS.values()])
        except ValueError as fault:
            print(fault, file=sys.stderr)
            return 2
        PAGE.write_text(page, encoding="utf-8")
    return 0


def _measured(parts: list[str], options: Options) -> table.Table:
    measured = table.Table(host.describe())
    for name, part in PARTS.items():
        if name in parts:
            start = perf_counter()
            measured.add(part.TITLE, _told(part.measure(options)))
            print(f"-- {name}: {perf_counter() - start:.0f} s", file=sys.stderr, flush=True)
    return measured


def _told(rows: Iterator[table.Row]) -> Iterator[table.Row]:
    """*rows*, which take minutes, each on stderr as it comes."""
    for row in rows:
        print(*filter(None, row.cells()), sep="  ", file=sys.stderr, flush=True)
        yield row


def _cpus(text: str) -> tuple[int, ...]:
    cpus = tuple(map(int, text.split(",")))
    if not set(cpus) <= set(operations.CPUS):
        raise argparse.ArgumentTypeError(f"of {', '.join(map(str, operations.CPUS))}")
    return cpus


def _counts(*, keep: bool) -> int:
    """Count instructions, and keep them or hold them against those kept; 1 if there are faults."""
    kind = instructions.kind()
    kept = instructions.read().get(kind)
    if kept is None and not keep:
        print(f"skipped: no instructions are kept for {kind} (python -m benchmarks --keep)")
        return 0
    try:
        _, counts = instructions.count()
    except instructions.CannotCount as reason:
        print(f"skipped: {reason}")
        return 0
    if keep:
        instructions.keep(counts)
    faults = instructions.grown(kept or {}, counts)
    for job, count in counts.items():
        before = kept.get(job) if kept else None
        print(f"{job:<40}{count.yardsticks:>9.3f}" + (f"{before.yardsticks:>9.3f} kept" if before else ""))
    if keep or not faults:
        return 0
    print(*faults, "If that is meant: python -m benchmarks --keep", sep="\n")
    return 1


if __name__ == "__main__":
    sys.exit(main())
