"""Profiles: `profile` says which locks and cache lines hold up the points of a run, and why."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from sim.cli.arguments import DONE, FAILED, complain, found, make_folder, rows, workers
from sim.errors import Fault, InputError
from sim.plaintext import say

if TYPE_CHECKING:
    from sim.cli.arguments import Commands


def add(commands: Commands) -> None:
    """Add the command of this group."""
    profile = commands.add_parser(
        "profile",
        help="say which locks and cache lines hold a run up, and why their holders are slow",
        description="Simulates points of a finished run again with listeners, writes locks.csv, holds.csv, "
        "operations.csv, waits_for.csv, root_causes.csv and lines.csv, and says in words what they show.",
    )
    profile.set_defaults(command=_profile)
    profile.add_argument("run", metavar="RUN", type=Path, help="folder of a run, or its name under results/")
    profile.add_argument(
        "--point", metavar="KEY=VALUE,...", action="append", default=[],
        help="these points, such as design=linux-6.13,threads=64 (repeatable; default: the largest thread "
        "count of each machine, design, workload and placement)",
    )  # fmt: skip
    profile.add_argument(
        "--out", metavar="DIR", type=Path, help="folder for the tables (default: RUN/profile)"
    )
    profile.add_argument("--workers", metavar="N", type=workers, help="processes (default: one a cpu)")
    profile.add_argument(
        "--top", metavar="N", type=rows, default=8, help="rows of the printed tables (default: 8)"
    )
    profile.add_argument("--json", action="store_true", help="progress and answers as JSON lines")


def _profile(options: argparse.Namespace) -> int:
    from sim.analysis.object_profile import profile_run, write_tables
    from sim.analysis.object_words import answer, line_table, lock_table, point_profiles
    from sim.experiment import available_cpus, meter
    from sim.terminal import console

    run = found(options.run)
    out: Path = options.out or run / "profile"
    if options.out is not None:
        make_folder(out)
    with meter(console(sys.stderr), "json" if options.json else "people") as progress:
        profiled = profile_run(run, options.point, options.workers or available_cpus(), progress)
    make_folder(out)
    try:
        files = write_tables(profiled.profile, out)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise InputError(Fault(f"cannot be written: {reason}", str(out))) from None
    profiles = point_profiles(profiled.profile)
    points = profiled.profile.points
    failed = points[points["status"] == "failed"]
    if options.json:
        answers = [{"point": each.label, "says": answer(each)} for each in profiles]
        summary = {
            "out": str(out),
            "points": len(points),
            "failed": len(failed),
            "rows": profiled.verdict,
            "tables": [str(file) for file in files],
            "answers": answers,
        }
        say(json.dumps(summary))
    else:
        screen = console(sys.stdout)
        for each in profiles:
            for line in answer(each):
                say(line)
            for table in (lock_table(each, options.top), line_table(each, options.top)):
                say("")
                screen.print(table)
            say("")
        say(profiled.says)
        say(f"tables: {files[0]} and {len(files) - 1} more")
    if len(failed):
        complain(f"{len(failed)} of {len(points)} points failed; the first: {failed.iloc[0]['error']}")
    if profiled.verdict == "different":
        complain(profiled.says)
    return FAILED if len(failed) or profiled.verdict == "different" else DONE
