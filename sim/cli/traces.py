"""Traces: `trace` writes what each cpu of a point does when, and flame graphs of where its time goes."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from sim.cli.arguments import DONE, FAILED, complain, cpus, make_folder, slices
from sim.errors import Fault, InputError
from sim.plaintext import say

if TYPE_CHECKING:
    from sim.analysis.tracing import Traced
    from sim.cli.arguments import Commands
    from sim.timeline import Asked


def add(commands: Commands) -> None:
    """Add the command of this group."""
    trace = commands.add_parser(
        "trace",
        help="write the timeline and the flame graph of some points",
        description="Simulates the points again. Writes for each a timeline for https://ui.perfetto.dev "
        "(.pftrace), folded stacks in ps (.folded) and a flame graph (.svg); of several points also one with "
        "all of them, flame.svg.",
    )
    trace.set_defaults(command=_trace)
    trace.add_argument(
        "source",
        metavar="EXPERIMENT_OR_RUN",
        type=Path,
        help="name or file of an experiment, or folder of a run",
    )
    trace.add_argument(
        "--point", metavar="KEY=VALUE,...", action="append", default=[],
        help="only points like this: design=linux-6.13,threads=64 (repeatable)",
    )  # fmt: skip
    trace.add_argument(
        "--out",
        metavar="DIR",
        type=Path,
        help="folder for the files (default: results/trace-NAME, or RUN/trace)",
    )
    trace.add_argument(
        "--window", metavar="FROM..TO",
        help="draw this part, in simulated time since the measured part began: 10us..25us",
    )  # fmt: skip
    trace.add_argument("--length", metavar="TIME", help="draw so much from the beginning: 25us")
    trace.add_argument("--sample", metavar="N", type=cpus, default=1, help="draw one cpu in N (default: all)")
    trace.add_argument(
        "--slices", metavar="N", type=slices, default=None,
        help="end the drawing at so many slices of some 55 bytes (default: 60000)",
    )  # fmt: skip
    trace.add_argument(
        "--shootdown", metavar="TIME", nargs="?", const="longest",
        help="print one shootdown as a small timeline: the longest, or the one that begins nearest to TIME",
    )  # fmt: skip
    trace.add_argument("--quick", action="store_true", help="the experiment's quick profile")
    trace.add_argument(
        "--set",
        metavar="KEY=VALUE",
        action="append",
        default=[],
        help="another value, as of `run` (repeatable)",
    )


def _trace(options: argparse.Namespace) -> int:
    asked = _asked(options)
    from sim.analysis.tracing import (
        NotTraced,
        few,
        is_run,
        parse_shootdown,
        points_of,
        trace_point,
        write,
    )
    from sim.experiment import choose
    from sim.files import parse_override

    source: Path = options.source
    if options.shootdown is not None:
        parse_shootdown(options.shootdown)
    overrides = [parse_override(text, f"--set {text}") for text in options.set]
    points, warning = points_of(source, overrides, quick=options.quick)
    chosen = few(choose(points, options.point))
    out: Path = options.out or (
        source / "trace" if is_run(source) else Path("results") / f"trace-{source.stem}"
    )
    make_folder(out)
    if warning:
        complain(warning)
    traced: list[Traced] = []
    failed = False
    for point in chosen:
        try:
            traced.append(trace_point(point, asked, options.shootdown))
        except NotTraced as error:
            failed = True
            complain(str(error))
            continue
        _tell(traced[-1])
    try:
        written = write(traced, out)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise InputError(Fault(f"cannot be written: {reason}", str(out))) from None
    for path in written:
        say(f"{path}  {_size(path)}")
    return FAILED if failed else DONE


def _asked(options: argparse.Namespace) -> Asked:
    """What is drawn. Raises `InputError` for a window that is none."""
    from sim.timeline import Asked, parse_window

    if options.window is not None and options.length is not None:
        raise InputError(Fault("contradict each other", "--window and --length"))
    begin, end = 0, None
    if options.window is not None:
        begin, end = parse_window(options.window)
    elif options.length is not None:
        begin, end = parse_window(options.length, length=True)
    most = Asked().most if options.slices is None else options.slices
    return Asked(begin, end, options.sample, most)


def _tell(traced: Traced) -> None:
    """Say what is drawn of a point, what is not, and where to look."""
    from sim.quantities import format_duration as written

    shown, folded = traced.shown, traced.folded
    say(f"{traced.title}: {traced.outcome.row.throughput_ops_per_us:.4g} operations/us")
    drawn = f"{written(shown.begin)} to {written(shown.end)} of {written(shown.measured)} measured"
    say(f"  drawn: {shown.slices} slices, {len(shown.tracks)} of {shown.cpus} cpus, {drawn}")
    if shown.cut:
        say("  cut there: that is as many slices as asked for (--slices); the stacks are whole")
    if folded.span > shown.measured:
        say("  drawn is the first run of several that this point pools; the stacks are of all")
    for sight in shown.sights:
        say(f"  {sight.what}: {sight.cpu}, {written(sight.begin)} to {written(sight.end)}")
    for line in traced.shootdown:
        say(f"  {line}")


def _size(path: Path) -> str:
    size = path.stat().st_size
    return f"{size / 1e6:.1f} MB" if size >= 1e5 else f"{size / 1e3:.1f} kB"
