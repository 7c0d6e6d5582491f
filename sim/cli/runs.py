"""Runs: `run` makes one of an experiment, `merge` one of its shards."""

from __future__ import annotations

import argparse
import json
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from sim.cli.arguments import DONE, FAILED, INTERRUPTED, complain, make_folder, workers
from sim.errors import Fault, InputError
from sim.plaintext import say

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pandas import DataFrame

    from sim.cli.arguments import Commands
    from sim.experiment import Shard, Style


def add(commands: Commands) -> None:
    """Add the commands of this group."""
    run = commands.add_parser("run", help="run an experiment and draw its figures")
    run.set_defaults(command=_run)
    run.add_argument("experiment", metavar="EXPERIMENT", help="name of a preset, or path of a YAML file")
    run.add_argument(
        "--out", metavar="DIR", type=Path, help="folder for the results (default: results/<name>)"
    )
    run.add_argument("--shard", metavar="I/N", type=_shard, help="only part I of N, to be merged later")
    run.add_argument(
        "--executor", choices=("processes", "dask"), default="processes",
        help="where points run (default: processes on this machine)",
    )  # fmt: skip
    run.add_argument("--scheduler", metavar="ADDRESS", help="dask scheduler, such as tcp://HOST:8786")
    run.add_argument(
        "--patience", metavar="SECONDS", type=_seconds, default=None,
        help="how long a cluster may be without any worker (default: 300)",
    )  # fmt: skip
    run.add_argument("--quiet", action="store_true", help="say nothing but what is wrong")
    run.add_argument("--json", action="store_true", help="progress and summary as JSON lines")
    run.add_argument("--workers", metavar="N", type=workers, help="processes (default: one a cpu)")
    run.add_argument("--threads", metavar="1,8,64", help="thread counts instead of the experiment's")
    run.add_argument(
        "--machine", "--machines", metavar="A,B", dest="machines", help="machines instead of the experiment's"
    )
    run.add_argument("--designs", metavar="A,B", help="designs instead of the experiment's")
    run.add_argument(
        "--set", metavar="KEY=VALUE", action="append", default=[],
        help="another value, by the path that `show` prints: seed=7, layout.leaves=64, "
        "workload.thread[2].compute=1us (repeatable)",
    )  # fmt: skip
    run.add_argument(
        "--schedule", metavar="RULE",
        help="what happens first at the same instant: fifo, shuffle, priority[:DEPTH[:DECISIONS]]",
    )  # fmt: skip
    run.add_argument(
        "--record-schedule", metavar="DIR", type=Path, help="keep the decisions of each point in a file there"
    )
    run.add_argument(
        "--replay-schedule",
        metavar="FILE",
        type=Path,
        help="repeat the decisions in FILE; only its point runs",
    )
    run.add_argument("--dry-run", action="store_true", help="say what would run, and write nothing")
    run.add_argument("--quick", action="store_true", help="the experiment's quick profile: a first look")
    run.add_argument("--resume", action="store_true", help="continue a run that was stopped")
    run.add_argument(
        "--profile", action="store_true",
        help="count what happens, who waits for which lock, and what each cpu did: counters.csv, locks.csv, "
        "cpus.csv, latencies.csv, transfers.csv",
    )  # fmt: skip
    run.add_argument(
        "--check", action="store_true",
        help="hold each point against the invariants of locks, tables, TLBs and frames while it runs; one "
        "that breaks a rule, or never ends, fails",
    )  # fmt: skip
    run.add_argument(
        "--retry-failed", action="store_true", help="as --resume, and run the points that failed again"
    )
    run.add_argument("--no-plots", action="store_true", help="tables only")

    merge = commands.add_parser("merge", help="make one run of the shards of an experiment")
    merge.set_defaults(command=_merge)
    merge.add_argument("runs", metavar="RUN", nargs="+", type=Path, help="folder of a shard")
    merge.add_argument("--out", metavar="DIR", type=Path, required=True, help="folder for the whole run")
    merge.add_argument("--no-plots", action="store_true", help="tables only")
    for parser in (run, merge):
        parser.add_argument(
            "--format", choices=("will-it-scale",),
            help="also write the points as this suite's result files, below will-it-scale/ in the folder",
        )  # fmt: skip


def _run(options: argparse.Namespace) -> int:
    from sim.experiment import (
        SECONDS_FOR_WORKERS,
        ClusterLost,
        available_cpus,
        load,
        meter,
        patient,
        replaying,
        run,
        run_point,
    )
    from sim.files import parse_names, parse_override
    from sim.terminal import console

    _check_run_options(options)
    overrides = [parse_override(text, f"--set {text}") for text in options.set]
    if options.threads is not None:
        overrides.append(parse_override(f"threads=[{options.threads}]", f"--threads {options.threads}"))
    if options.schedule is not None:
        overrides.append(parse_override(f"schedule={options.schedule}", f"--schedule {options.schedule}"))
    for key, option in (("machines", "machine"), ("designs", "designs")):
        if (names := getattr(options, key)) is not None:
            overrides.append(parse_names(key, names, f"--{option} {names}"))
    experiment = load(options.experiment, overrides, quick=options.quick)
    if options.replay_schedule is not None:
        experiment = replaying(experiment, options.replay_schedule)
    part = f"-{options.shard.index}-of-{options.shard.count}" if options.shard else ""
    if options.format:
        _refuse_unwritable(
            (cell.workload.name, cell.placement, bool(cell.assignment.swept)) for cell in experiment.cells
        )
    out: Path = options.out or Path("results") / (
        experiment.name + ("-quick" if options.quick else "") + part
    )
    if options.dry_run:
        from sim.experiment import preview

        for line in preview(experiment, out, options.shard):
            say(line)
        return DONE
    if options.record_schedule is not None:
        make_folder(options.record_schedule)
    style: Style = "json" if options.json else "quiet" if options.quiet else "people"
    stderr = console(sys.stderr)

    def notice() -> None:
        if style == "people":
            say("stopping when the running points are done; Ctrl-C again stops at once", sys.stderr)

    try:
        with meter(stderr, style) as progress, patient(notice) as stop:
            points = run(
                experiment,
                out=out,
                workers=options.workers or available_cpus(),
                resume=options.resume,
                profile=options.profile,
                check=options.check,
                retry_failed=options.retry_failed,
                progress=progress,
                task=partial(run_point, record=options.record_schedule),
                shard=options.shard,
                scheduler=options.scheduler,
                patience=options.patience or SECONDS_FOR_WORKERS,
                stop=stop,
            )
    except KeyboardInterrupt:
        complain(f"stopped; finished points are kept in {out}: continue with --resume")
        return INTERRUPTED
    except ClusterLost as error:
        complain(f"{error} and kept in {out}: mend the cluster and continue with --resume")
        return FAILED
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        complain(f"{out}: cannot write results: {reason}; finished points are kept: continue with --resume")
        return FAILED
    return _report(points, out, style, plots=not options.no_plots, suite=options.format is not None)


def _refuse_unwritable(places: Iterable[tuple[str, str, bool]]) -> None:
    """Raise `InputError` where `--format` has no place for what is run."""
    from sim.analysis.will_it_scale import unwritable

    if faults := unwritable(places):
        raise InputError(faults)


def _check_run_options(options: argparse.Namespace) -> None:
    """Options that only make sense together, or do not."""
    faults = []
    if options.executor == "dask" and options.scheduler is None:
        faults.append(
            Fault("needs the address of a scheduler", "--executor dask", allowed="--scheduler ADDRESS")
        )
    if options.executor != "dask" and options.scheduler is not None:
        faults.append(
            Fault("is for a cluster", f"--scheduler {options.scheduler}", allowed="--executor dask")
        )
    if options.executor == "dask" and options.record_schedule is not None:
        faults.append(
            Fault(
                "is for points that run on this machine", "--record-schedule", allowed="--executor processes"
            )
        )
    if options.schedule is not None and options.replay_schedule is not None:
        faults.append(Fault("contradict each other", "--schedule and --replay-schedule"))
    if options.executor != "dask" and options.patience is not None:
        faults.append(Fault("is for a cluster", "--patience", allowed="--executor dask"))
    if options.format is not None and options.shard is not None:
        allowed = "`cortensim merge` with this option, when all shards are there"
        faults.append(Fault("is for a whole run", f"--format {options.format}", allowed=allowed))
    if options.json and options.quiet:
        faults.append(Fault("contradict each other", "--json and --quiet"))
    if faults:
        raise InputError(faults)


def _merge(options: argparse.Namespace) -> int:
    from sim.analysis.tables import swept_columns
    from sim.experiment import frame, merge

    points = frame(merge(options.runs, options.out))
    if options.format:
        _refuse_unwritable(
            (point["workload"], point["placement"], bool(swept_columns(points)))
            for point in points.to_dict("records")
        )
    return _report(
        points, options.out, "people", plots=not options.no_plots, suite=options.format is not None
    )


def _report(points: DataFrame, out: Path, style: Style, plots: bool, suite: bool = False) -> int:
    """Say what came of a run, draw it, and write it as files of a *suite* if asked."""
    failed = points[points["status"] == "failed"]
    figures = []
    files = _write_suite(points, out / "will-it-scale") if suite else []
    if plots and len(failed) < len(points):
        try:
            figures = _draw(out)
        except InputError as error:  # the run is done: what cannot be drawn is no fault of it
            complain(f"no figures: {error}")
    if style == "json":
        say(
            json.dumps(
                {
                    "out": str(out),
                    "points": len(points),
                    "failed": len(failed),
                    "tables": [*(str(out / name) for name in _tables(points)), *map(str, files)],
                    "figures": [str(figure) for figure in figures],
                }
            )
        )
    elif style == "people":
        from sim.analysis.summary import profile_table, result_table, scaling_lines
        from sim.terminal import console

        console(sys.stdout).print(result_table(points))
        if (lines := scaling_lines(points, out)) is not None:
            say("")
            console(sys.stdout).print(lines)
        if "counters" in points.attrs:
            say("")
            console(sys.stdout).print(profile_table(points))
        say(f"\ntables: {out / 'points.csv'}")
        for file in files[:1]:
            say(f"will-it-scale: {file}" + (f" and {len(files) - 1} more" if len(files) > 1 else ""))
        for figure in figures[:1]:
            say(f"figure: {figure}")
    if len(failed):
        complain(f"{len(failed)} of {len(points)} points failed; the first: {failed.iloc[0]['error']}")
        return FAILED
    return DONE


def _write_suite(points: DataFrame, folder: Path) -> list[Path]:
    """The files of will-it-scale for a run that is done. Raises `InputError` where they cannot be written."""
    from sim.analysis.will_it_scale import write_suite

    try:
        return write_suite(points, folder)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise InputError(Fault(f"cannot be written: {reason}", str(folder))) from None


def _tables(points: DataFrame) -> list[str]:
    """The tables in the folder of a run."""
    extra = [f"{table}.csv" for table in points.attrs if table != "breakdown"]
    return ["points.csv", "points.parquet", "breakdown.csv", *extra]


def _draw(run: Path) -> list[Path]:
    from sim.analysis.figures import plot_run

    return plot_run(run)


def _shard(text: str) -> Shard:
    from sim.experiment import parse_shard

    try:
        return parse_shard(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < float("inf"):
        raise argparse.ArgumentTypeError(f"not a number of seconds above 0: {text!r}")
    return seconds
