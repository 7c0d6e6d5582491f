"""The command line: arguments in, exit code out. 0 done, 1 a check or a point failed, 2 bad input.

Everything heavy is imported by the command that needs it: `cortensim --help` must be instant.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from sim.errors import CortensimError, Fault, InputError
from sim.plaintext import plain, say

if TYPE_CHECKING:
    from pandas import DataFrame

    from sim.experiment import Shard, Style

DONE, FAILED, BAD_INPUT, INTERRUPTED = 0, 1, 2, 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code. Whatever the user got wrong is a message, not a traceback."""
    try:
        options = _parser().parse_args(arguments)
        command: Callable[[argparse.Namespace], int] = options.command
        code = command(options)
        sys.stdout.flush()
        return code
    except InputError as error:
        for fault in error.faults:
            _complain(str(fault))
        return BAD_INPUT
    except CortensimError as error:
        _complain(f"{type(error).__name__}: {error}")
        return FAILED
    except BrokenPipeError:  # the reader of our output has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return DONE
    except OSError as error:
        _complain(str(error))
        return FAILED
    except KeyboardInterrupt:
        _complain("stopped")
        return INTERRUPTED


class _Parser(argparse.ArgumentParser):
    """argparse with a one-line error."""

    def error(self, message: str) -> NoReturn:
        self.exit(BAD_INPUT, plain(f"{self.prog}: {message} (see {self.prog} --help)") + "\n")


class _Version(argparse.Action):
    """Looks the version up only when asked."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        from sim.experiment import package_version

        say(f"cortensim {package_version()}")
        parser.exit()


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="cortensim",
        description="How does a memory-management design scale on a machine, and where does the time go?",
    )
    parser.add_argument("--version", action=_Version, nargs=0, help="print the version and exit")
    commands = parser.add_subparsers(metavar="COMMAND", required=True, parser_class=_Parser)

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
    run.add_argument("--workers", metavar="N", type=_workers, help="processes (default: one a cpu)")
    run.add_argument("--threads", metavar="1,8,64", help="thread counts instead of the experiment's")
    run.add_argument(
        "--machine", "--machines", metavar="A,B", dest="machines", help="machines instead of the experiment's"
    )
    run.add_argument("--designs", metavar="A,B", help="designs instead of the experiment's")
    run.add_argument(
        "--set", metavar="KEY=VALUE", action="append", default=[],
        help="another value, by the path that `show` prints: seed=7, layout.leaves=64, "
        "workload.thread[2].compute.time=1us (repeatable)",
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
        help="count what happens and who waits for which lock: counters.csv, locks.csv",
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

    listing = commands.add_parser("list", help="list the presets of a kind")
    listing.set_defaults(command=_list)
    listing.add_argument("kind", choices=("machines", "designs", "workloads", "experiments"))

    show = commands.add_parser("show", help="show a preset or file, with the origin of its values")
    show.set_defaults(command=_show)
    show.add_argument("name", metavar="NAME", help="name of a preset, or path of a YAML file")

    check = commands.add_parser("check", help="check files without running them")
    check.set_defaults(command=_check)
    check.add_argument("files", metavar="FILE", nargs="+", type=Path)

    init = commands.add_parser(
        "init", help="write a starter: a machine, a workload, an experiment, a notebook"
    )
    init.set_defaults(command=_init)
    init.add_argument("folder", metavar="DIR", type=Path)

    schema = commands.add_parser("schema", help="write the JSON Schemas of the files, for editors")
    schema.set_defaults(command=_schema)
    schema.add_argument(
        "folder", metavar="DIR", nargs="?", type=Path, default=Path("schema"), help="default: schema"
    )

    validate = commands.add_parser("validate", help="hold the model against published measurements")
    validate.set_defaults(command=_validate)
    validate.add_argument(
        "--data", metavar="FILE.csv", nargs="+", action="extend", type=Path, default=[],
        help="measurements (default: the published ones that come with the program)",
    )  # fmt: skip
    validate.add_argument(
        "--dataset", metavar="NAME", nargs="+", action="extend", default=[], help="these datasets only"
    )
    validate.add_argument("--strict", action="store_true", help="a row that is not covered fails, too")
    validate.add_argument("--out", metavar="DIR", type=Path, help="write validation.csv there")
    validate.add_argument(
        "--report", metavar="FILE.md", type=Path,
        help="write the page with breakdowns and, from misses.yaml beside it, the explanations",
    )  # fmt: skip
    validate.add_argument("--workers", metavar="N", type=_workers, help="processes (default: one a cpu)")

    fit = commands.add_parser(
        "fit",
        help="try values against the published rows that costs may be fitted to",
        description="Simulates only rows marked `calibrate`, for every combination of the values, and prints "
        "them with the closest first. Nothing is changed: the value to keep goes into its file by hand, with "
        "its source.",
    )
    fit.set_defaults(command=_fit)
    fit.add_argument("machine", metavar="MACHINE", help="the machine whose rows are used")
    fit.add_argument(
        "--try", metavar="KEY=[A,B,...]", action="append", default=[], dest="tries", required=True,
        help="a value's path and what to try, e.g. machine.coherence.probe=[0,0.1,0.2]",
    )  # fmt: skip
    fit.add_argument(
        "--data", metavar="FILE.csv", nargs="+", action="extend", type=Path, default=[],
        help="measurements (default: the published ones that come with the program)",
    )  # fmt: skip
    fit.add_argument("--dataset", metavar="NAME", nargs="+", action="extend", default=[], help="these only")
    fit.add_argument("--workload", metavar="NAME", nargs="+", action="extend", default=[], help="these only")
    fit.add_argument("--workers", metavar="N", type=_workers, help="processes (default: one a cpu)")

    plot = commands.add_parser("plot", help="draw the figures of a run again")
    plot.set_defaults(command=_plot)
    plot.add_argument("run", metavar="RUN", type=Path, help="folder of a run, or its name under results/")
    plot.add_argument("--out", metavar="DIR", type=Path, help="folder for the figures (default: RUN/plots)")
    plot.add_argument(
        "--as-is", action="store_true", help="draw tables that were changed after the run, and say so"
    )
    return parser


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
    out: Path = options.out or Path("results") / (
        experiment.name + ("-quick" if options.quick else "") + part
    )
    if options.dry_run:
        from sim.experiment import preview

        for line in preview(experiment, out, options.shard):
            say(line)
        return DONE
    if options.record_schedule is not None:
        _make_folder(options.record_schedule)
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
                retry_failed=options.retry_failed,
                progress=progress,
                task=partial(run_point, record=options.record_schedule),
                shard=options.shard,
                scheduler=options.scheduler,
                patience=options.patience or SECONDS_FOR_WORKERS,
                stop=stop,
            )
    except KeyboardInterrupt:
        _complain(f"stopped; finished points are kept in {out}: continue with --resume")
        return INTERRUPTED
    except ClusterLost as error:
        _complain(f"{error} and kept in {out}: mend the cluster and continue with --resume")
        return FAILED
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        _complain(f"{out}: cannot write results: {reason}; finished points are kept: continue with --resume")
        return FAILED
    return _report(points, out, style, plots=not options.no_plots)


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
    if options.json and options.quiet:
        faults.append(Fault("contradict each other", "--json and --quiet"))
    if faults:
        raise InputError(faults)


def _report(points: DataFrame, out: Path, style: Style, plots: bool) -> int:
    """Say what came of a run, and draw it."""
    failed = points[points["status"] == "failed"]
    figures = []
    if plots and len(failed) < len(points):
        try:
            figures = _draw(out, out / "plots")
        except InputError as error:  # the run is done: what cannot be drawn is no fault of it
            _complain(f"no figures: {error}")
    if style == "json":
        say(
            json.dumps(
                {
                    "out": str(out),
                    "points": len(points),
                    "failed": len(failed),
                    "tables": [str(out / name) for name in _tables(points)],
                    "figures": [str(figure) for figure in figures],
                }
            )
        )
    elif style == "people":
        from sim.analysis.summary import profile_table, result_table
        from sim.terminal import console

        console(sys.stdout).print(result_table(points))
        if "counters" in points.attrs:
            say("")
            console(sys.stdout).print(profile_table(points))
        say(f"\ntables: {out / 'points.csv'}")
        for figure in figures[:1]:
            say(f"figure: {figure}")
    if len(failed):
        _complain(f"{len(failed)} of {len(points)} points failed; the first: {failed.iloc[0]['error']}")
        return FAILED
    return DONE


def _tables(points: DataFrame) -> list[str]:
    """The tables in the folder of a run."""
    extra = ("counters.csv", "locks.csv") if "counters" in points.attrs else ()
    return ["points.csv", "points.parquet", "breakdown.csv", *extra]


def _merge(options: argparse.Namespace) -> int:
    from sim.experiment import frame, merge

    points = frame(merge(options.runs, options.out))
    return _report(points, options.out, "people", plots=not options.no_plots)


def _list(options: argparse.Namespace) -> int:
    from sim.experiment.describe import preset_list
    from sim.terminal import console

    kinds = {"machines": "machine", "designs": "design", "workloads": "workload", "experiments": "experiment"}
    console(sys.stdout).print(preset_list(kinds[options.kind]))  # type: ignore[arg-type]
    return DONE


def _show(options: argparse.Namespace) -> int:
    from sim.experiment.describe import spec_view
    from sim.files import find_any
    from sim.terminal import console

    screen = console(sys.stdout)
    for resolved in find_any(options.name):
        screen.print(spec_view(resolved))
    return DONE


def _check(options: argparse.Namespace) -> int:
    from sim.experiment import check_file

    faults: list[Fault] = []
    for path in options.files:
        try:
            kind, name = check_file(path)
        except InputError as error:
            faults += [fault for fault in error.faults if fault not in faults]
        else:
            say(f"{path}: {kind} {name} is fine")
    if faults:
        raise InputError(faults)
    return DONE


def _init(options: argparse.Namespace) -> int:
    from sim.experiment.starter import write_starter

    _make_folder(options.folder)
    for path in write_starter(options.folder):
        say(path)
    return DONE


def _schema(options: argparse.Namespace) -> int:
    from sim.files import write_schemas

    _make_folder(options.folder)
    for path in write_schemas(options.folder):
        say(path)
    return DONE


def _validate(options: argparse.Namespace) -> int:
    from sim.analysis.validation import validate
    from sim.analysis.validation_report import render, write_csv, write_report
    from sim.experiment import available_cpus, meter
    from sim.terminal import console

    if options.report is not None:
        _make_folder(options.report.parent)
    if options.out is not None:
        _make_folder(options.out)
    with meter(console(sys.stderr)) as progress:
        result = validate(options.data, options.dataset, options.workers or available_cpus(), progress)
    render(result, console(sys.stdout))
    if options.out is not None:
        written = write_csv(result, options.out)
        say(f"table: {written}")
    if options.report is not None:
        written = write_report(result, options.report)
        say(f"page: {written}")
    if not result.answered:
        _complain("no row could be compared: the table above says why")
    good = result.ok and result.answered and (result.complete or not options.strict)
    return DONE if good else FAILED


def _fit(options: argparse.Namespace) -> int:
    from sim.analysis.fitting import fit
    from sim.experiment import available_cpus, meter
    from sim.files import parse_choices
    from sim.terminal import console

    choices = [parse_choices(text, f"--try {text}") for text in options.tries]
    with meter(console(sys.stderr)) as progress:
        result = fit(
            choices,
            options.machine,
            options.data,
            options.dataset,
            options.workload,
            options.workers or available_cpus(),
            progress,
        )
    result.render(console(sys.stdout))
    return DONE


def _plot(options: argparse.Namespace) -> int:
    run: Path = options.run
    if not run.exists() and (named := Path("results") / run).exists():
        run = named
    for figure in _draw(run, options.out or run / "plots", options.as_is):
        say(figure)
    return DONE


def _draw(run: Path, out: Path, as_is: bool = False) -> list[Path]:
    from sim.analysis.figures import plot_run

    return plot_run(run, out, as_is=as_is)


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise InputError(Fault(f"cannot write here: {reason}", str(folder))) from error


def _shard(text: str) -> Shard:
    from sim.experiment import parse_shard

    try:
        return parse_shard(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _workers(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"not a number of processes: {text!r}")
    return int(text)


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < float("inf"):
        raise argparse.ArgumentTypeError(f"not a number of seconds above 0: {text!r}")
    return seconds


def _complain(message: str) -> None:
    say(message, sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
