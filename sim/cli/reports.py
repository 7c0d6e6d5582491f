"""Reports: `report` makes one page of a run."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from sim.cli.arguments import DONE, found
from sim.errors import Fault, InputError
from sim.plaintext import say

if TYPE_CHECKING:
    from sim.cli.arguments import Commands


def add(commands: Commands) -> None:
    """Add the command of this group."""
    report = commands.add_parser(
        "report",
        help="make one HTML page of a run: who scales, where it stops and why, how far to trust it",
        description="The page needs nothing else: charts, tables and their data are inside.",
    )
    report.set_defaults(command=_report)
    report.add_argument("run", metavar="RUN", type=Path, help="folder of a run, or its name under results/")
    report.add_argument("--out", metavar="FILE", type=Path, help="the page (default: RUN/report.html)")
    report.add_argument(
        "--as-is", action="store_true", help="report tables that were changed after the run, and say so"
    )


def _report(options: argparse.Namespace) -> int:
    from sim.analysis.report import write_report

    out: Path | None = options.out
    if out is not None and out.is_dir():
        raise InputError(Fault("a folder", f"--out {out}", allowed="the name of a file, such as report.html"))
    try:
        path = write_report(found(options.run), out, as_is=options.as_is)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise InputError(Fault(f"cannot be written: {reason}", str(error.filename or out))) from None
    say(f"report: {path}")
    return DONE
