"""What would be gained without it: `whatif` runs points again, with one thing less at a time."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from sim.cli.arguments import DONE, FAILED, complain, found, make_folder, workers
from sim.errors import Fault, InputError
from sim.plaintext import say

if TYPE_CHECKING:
    from sim.cli.arguments import Commands


def add(commands: Commands) -> None:
    """Add the commands of this group."""
    whatif = commands.add_parser(
        "whatif",
        help="run points again without a lock, a line, a cost or a switch, and see what is gained",
        description="Takes one thing away at a time and ranks them by what the points gain, with the same "
        "seeds. Without --without it tries the locks and costs that take a part of an operation, and the "
        "switches that other kernels have otherwise.",
    )
    whatif.set_defaults(command=_whatif)
    whatif.add_argument("run", metavar="RUN", type=Path, help="the folder of a finished run, or its name")
    whatif.add_argument(
        "--point", metavar="KEY=VALUE,...", action="append", default=[],
        help="these points only, such as design=linux-6.13,threads=64 (default: the most threads of each "
        "curve)",
    )  # fmt: skip
    whatif.add_argument(
        "--without", metavar="WHAT", action="append", default=[],
        help="this only: `lock: mmap_lock`, `line: NAME`, a name of configs/whatif.yaml, or the path of a "
        "value: machine.memory.clear_page, with =half or =VALUE",
    )  # fmt: skip
    whatif.add_argument("--replicates", metavar="N", type=_count, default=3, help="seeds each (default: 3)")
    whatif.add_argument(
        "--top", metavar="N", type=_count, default=5, help="try so many in pairs (default: 5)"
    )
    whatif.add_argument("--workers", metavar="N", type=workers, help="processes (default: one a cpu)")
    whatif.add_argument(
        "--out", metavar="DIR", type=Path, help="for whatif.csv and whatif.json (default: RUN/whatif)"
    )
    whatif.add_argument(
        "--keep", metavar="DIR", type=Path,
        help="keep each simulated point there as it finishes, and run none again that is there",
    )  # fmt: skip
    whatif.add_argument("--dry-run", action="store_true", help="say what would be tried; run nothing")
    whatif.add_argument(
        "--json", action="store_true", help="print the rows of whatif.json instead of a table"
    )


def _count(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 1000:
        raise argparse.ArgumentTypeError(f"not a number from 1 to 1000: {text!r}")
    return int(text)


def _whatif(options: argparse.Namespace) -> int:
    from sim.analysis.changes import parse_change, read_catalogue
    from sim.analysis.whatif import breakdowns, carry_out, plan
    from sim.analysis.whatif_report import as_records, render, render_plan, write
    from sim.experiment import available_cpus, experiment_of, is_of_this_model, meter
    from sim.terminal import console

    run = found(options.run)
    experiment, manifest = experiment_of(run)
    catalogue = read_catalogue()
    asked = [parse_change(text, catalogue) for text in options.without]
    wanted = plan(
        experiment, breakdowns(run), catalogue, options.point, asked, options.replicates, options.top
    )
    if not is_of_this_model(manifest):
        complain("the run was made by another version of the model: its points are simulated anew")
    if options.dry_run:
        render_plan(wanted, console(sys.stdout))
        return DONE
    out: Path = options.out or run / "whatif"
    make_folder(out)
    with meter(console(sys.stderr)) as progress:
        table = carry_out(wanted, options.workers or available_cpus(), progress, options.keep)
    try:
        written = write(table, out)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise InputError(Fault(f"cannot be written: {reason}", str(out))) from None
    if options.json:
        import json

        say(json.dumps(as_records(table), indent=1))
    else:
        render(table, console(sys.stdout))
        for path in written:
            say(f"table: {path}")
    good = table.loc[table["kind"] != "", "gain"].notna().any()
    if not good:
        complain("nothing could be taken away: the table says why")
    return DONE if good else FAILED
