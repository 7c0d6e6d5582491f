"""Comparison: `compare` puts a run beside another one, or beside what was measured."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from sim.cli.arguments import DONE, FAILED, complain, found, make_folder
from sim.errors import Fault, InputError
from sim.plaintext import say

if TYPE_CHECKING:
    from collections.abc import Mapping

    from matplotlib.figure import Figure
    from pandas import DataFrame

    from sim.cli.arguments import Commands


def add(commands: Commands) -> None:
    """Add the command of this group."""
    compare = commands.add_parser(
        "compare",
        help="put a run beside another run, or beside measurements",
        description="Prints both beside each other, and writes compare.csv and a figure.",
    )
    compare.set_defaults(command=_compare)
    compare.add_argument("run", metavar="RUN", type=Path, help="folder of a run, or its name under results/")
    compare.add_argument(
        "others", metavar="RUN_OR_CSV", nargs="+", type=Path,
        help="another run, or files of measurements: in the published format, or of will-it-scale",
    )  # fmt: skip
    compare.add_argument(
        "--as", metavar="NAME=OTHER", dest="names", action="append", default=[],
        help="what the second one calls NAME is OTHER in the first: a machine, design, workload (repeatable)",
    )  # fmt: skip
    compare.add_argument(
        "--out", metavar="DIR", type=Path, help="folder for table and figure (default: RUN/compare)"
    )
    compare.add_argument(
        "--as-is", action="store_true", help="compare tables that were changed after the run, and say so"
    )


def _compare(options: argparse.Namespace) -> int:
    from sim.analysis.names import parse_names

    names = parse_names(options.names)
    run = found(options.run)
    others = [found(path) for path in options.others]
    folders = [path for path in others if path.is_dir()]
    if folders and len(others) > 1:
        raise InputError(Fault("one run can be compared with one other", value=str(folders[-1])))
    out = options.out or run / "compare"
    if options.out is not None:
        make_folder(out)
    if folders:
        return _two_runs(run, folders[0], names, out, options.as_is)
    return _against(run, others, names, out, options.as_is)


def _two_runs(run: Path, other: Path, names: dict[str, str], out: Path, as_is: bool) -> int:
    from sim.analysis.comparison import TABLE, WHY, render_two
    from sim.analysis.run_pair import labels_of, pair_figure, ratio_figure
    from sim.analysis.tables import read_report, read_run
    from sim.analysis.two_runs import two_runs
    from sim.analysis.why import reasons, summary
    from sim.terminal import console

    first, second = read_run(run, as_is=as_is), read_run(other, as_is=as_is)
    result = two_runs(first.points, second.points, names)
    labels = labels_of(run, other, names)
    render_two(result, labels, console(sys.stdout))
    if result.table.empty:
        complain(
            "no place has a finished point in both runs: `--as NAME=OTHER` says what is called otherwise"
        )
        return FAILED
    locks = [
        read_report(folder, tables, ["locks"]).get("locks")
        for folder, tables in ((run, first), (other, second))
    ]
    why = reasons(first, second, names, result, locks)
    for line in summary(why):
        say(line)
    figures = {
        "compare": pair_figure(result, labels, f"{first.title}: {labels[0]} beside {labels[1]}"),
        "ratio": ratio_figure(result, labels, first.title),
    }
    _write({TABLE: result.table, WHY: why}, out, figures)
    return DONE


def _against(run: Path, files: list[Path], names: dict[str, str], out: Path, as_is: bool) -> int:
    from sim.analysis.beside import measured_figure
    from sim.analysis.comparison import TABLE, measured_beside, render_against
    from sim.analysis.tables import read_run
    from sim.terminal import console

    tables = read_run(run, as_is=as_is)
    result = measured_beside(tables, files, names)
    render_against(result, console(sys.stdout))
    if result.table.empty:
        complain("no measured row has a place in this run: the reasons stand above")
        return FAILED
    title = f"{tables.title}: simulated beside measured"
    figure = measured_figure(tables.points, result.observations, title)
    _write({TABLE: result.table}, out, {"compare": figure} if figure else {})
    if figure is None:
        say("no figure: measured was what is, and no line of a sweep is more that than the others")
    return DONE


def _write(tables: Mapping[str, DataFrame], out: Path, figures: Mapping[str, Figure]) -> None:
    from sim.analysis.comparison import write_table
    from sim.analysis.figures import write_figure

    make_folder(out)
    try:
        written = [write_table(table, out, name) for name, table in tables.items()]
        paths = [write_figure(figure, out, name)[0] for name, figure in figures.items()]
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise InputError(Fault(f"cannot be written: {reason}", str(out))) from None
    for table in written:
        say(f"table: {table}")
    for path in paths:
        say(f"figure: {path}")
