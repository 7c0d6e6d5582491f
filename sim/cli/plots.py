"""Figures: `plot` draws those of a finished run, or of a validation."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from sim.cli.arguments import DONE, FAILED, complain, found, make_folder
from sim.errors import Fault, InputError
from sim.plaintext import say

if TYPE_CHECKING:
    from sim.cli.arguments import Commands
    from sim.timeline import Asked

OCCUPANCY = "occupancy"
PUBLISHED = "published"


def add(commands: Commands) -> None:
    """Add the command of this group."""
    plot = commands.add_parser(
        "plot",
        help="draw the figures of a run again, or some of them",
        description="Draws all figures that make sense of a run, or those that are named. `occupancy` shows "
        "what each cpu does when; for that its points are simulated again. Of a validation (validation.csv, "
        "or the page docs/validation.md) the figure is `published`.",
    )
    plot.set_defaults(command=_plot)
    plot.add_argument(
        "run", metavar="RUN", type=Path,
        help="folder of a run, or its name under results/; or the table or page of a validation",
    )  # fmt: skip
    plot.add_argument(
        "--figure", metavar="NAME,...", action="append", default=[],
        help="only these: scalability, ratio, fairness, distribution, occupancy, ... (repeatable; a wrong "
        "name is answered with all of them)",
    )  # fmt: skip
    plot.add_argument(
        "--point", metavar="KEY=VALUE,...", action="append", default=[],
        help="with --figure occupancy: which points, such as design=linux-6.13,threads=64 (repeatable)",
    )  # fmt: skip
    plot.add_argument(
        "--window", metavar="FROM..TO",
        help="with --figure occupancy: this part, in simulated time from the measured part on: 10us..25us",
    )  # fmt: skip
    plot.add_argument("--out", metavar="DIR", type=Path, help="folder for the figures (default: RUN/plots)")
    plot.add_argument(
        "--as-is", action="store_true", help="draw tables that were changed after the run, and say so"
    )


def _plot(options: argparse.Namespace) -> int:
    names = [name for text in options.figure for name in text.split(",")]
    run = found(options.run)
    if run.is_file():
        return _plot_validation(run, names, options)
    _refuse(names, options)
    out: Path = options.out or run / "plots"
    failed = False
    drawn: list[Path] = []
    others = [name for name in names if name != OCCUPANCY]
    if others or not names:
        from sim.analysis.figures import plot_run

        drawn += plot_run(run, out, as_is=options.as_is, names=others)
    if OCCUPANCY in names:
        more, failed = _draw_occupancy(run, out, options)
        drawn += more
    for figure in drawn:
        say(figure)
    return FAILED if failed else DONE


def _refuse(names: list[str], options: argparse.Namespace) -> None:
    """Raise `InputError` for names that are no figures, and for options that belong to another one."""
    if names:
        from sim.analysis.figures import refuse_unknown

        refuse_unknown(names, [OCCUPANCY])
    if OCCUPANCY not in names:
        for option in ("point", "window"):
            if getattr(options, option):
                raise InputError(Fault("is for --figure occupancy", f"--{option}"))


def _asked(options: argparse.Namespace) -> Asked:
    from sim.analysis.occupancy import MOST_SLICES
    from sim.timeline import Asked, parse_window

    begin, end = (0, None) if options.window is None else parse_window(options.window)
    return Asked(begin, end, most=MOST_SLICES)


def _draw_occupancy(run: Path, out: Path, options: argparse.Namespace) -> tuple[list[Path], bool]:
    """The files written, and whether a point could not be drawn."""
    asked = _asked(options)
    from sim.analysis.figures import write_figure
    from sim.analysis.occupancy import occupancy_figure
    from sim.analysis.tracing import NotTraced, few, points_of, stems, trace_point
    from sim.experiment import choose

    points, warning = points_of(run)
    chosen = few(choose(points, options.point))
    if warning:
        complain(warning)
    make_folder(out)
    drawn: list[Path] = []
    failed = False
    for point, stem in zip(chosen, stems(chosen), strict=True):
        try:
            traced = trace_point(point, asked)
        except NotTraced as error:
            complain(str(error))
            failed = True
            continue
        figure = occupancy_figure(traced.shown, traced.title)
        if figure is None:
            complain(f"{traced.title}: nothing happens in this window")
            failed = True
        else:
            drawn += write_figure(figure, out, f"{OCCUPANCY}-{stem}")
    return drawn, failed


def _plot_validation(path: Path, names: list[str], options: argparse.Namespace) -> int:
    from sim.analysis.published_figure import plot_validation

    if others := [name for name in names if name != PUBLISHED]:
        raise InputError(Fault("no such figure of a validation", f"--figure {others[0]}", allowed=PUBLISHED))
    for option in ("point", "window"):
        if getattr(options, option):
            raise InputError(Fault("is for --figure occupancy of a run", f"--{option}"))
    out: Path = options.out or path.parent
    make_folder(out)
    for figure in plot_validation(path, out):
        say(figure)
    return DONE
