"""Curves: `curves` says how those of a run scale, `sensitivity` which costs they rest on."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from sim.cli.arguments import DONE, FAILED, complain, events, found, make_folder, workers
from sim.errors import Fault, InputError
from sim.plaintext import say

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from sim.cli.arguments import Commands


def add(commands: Commands) -> None:
    """Add the commands of this group."""
    curves = commands.add_parser(
        "curves",
        help="say how each curve of a run scales: knee, speed-up, contention, peak",
        description="Prints a line a curve, and writes tables: curves.csv, speedups.csv, ratios.csv, "
        "replicates.csv and latencies.csv; of a run with --profile also fairness.csv and distributions.csv.",
    )
    curves.set_defaults(command=_curves)
    curves.add_argument("run", metavar="RUN", type=Path, help="folder of a run, or its name under results/")
    curves.add_argument("--baseline", metavar="DESIGN", help="what ratios are to (default: Linux)")
    curves.add_argument("--out", metavar="DIR", type=Path, help="folder for the tables (default: RUN/curves)")
    curves.add_argument(
        "--as-is", action="store_true", help="take tables that were changed after the run, and say so"
    )

    sensitivity = commands.add_parser(
        "sensitivity",
        help="say which costs move the answers of an experiment, and whether its conclusions hold",
        description="Each cost in the files of the machine, design and workload may be off by what its "
        "quality or its range says. Simulates the points with all of them drawn at once, for bands and "
        "conclusions, and with one at a time, for a ranking. Says beforehand how many points that are.",
    )
    sensitivity.set_defaults(command=_sensitivity)
    sensitivity.add_argument("experiment", metavar="EXPERIMENT", help="name of a preset, or path of a file")
    sensitivity.add_argument(
        "--point", metavar="KEY=VALUE,...", action="append", default=[],
        help="only points like this, such as workload=pf,threads=64 (repeatable)",
    )  # fmt: skip
    sensitivity.add_argument("--quick", action="store_true", help="the experiment's quick profile")
    sensitivity.add_argument(
        "--method", choices=("morris", "oat"), default="morris",
        help="how the leading costs are ranked: along random paths, or one at a time (default: morris)",
    )  # fmt: skip
    sensitivity.add_argument(
        "--samples", metavar="N", type=int, default=16, help="draws of all costs at once (default: 16)"
    )
    sensitivity.add_argument(
        "--paths", metavar="N", type=int, default=6, help="paths of Morris' method (default: 6)"
    )
    sensitivity.add_argument(
        "--costs", metavar="N", type=int, default=24,
        help="costs that are looked at one at a time, from the groups that move most (default: 24)",
    )  # fmt: skip
    sensitivity.add_argument(
        "--conclusion", metavar='"A > B at N"', action="append", default=[],
        help="does it hold? (default: each two designs at the largest thread count; repeatable)",
    )  # fmt: skip
    sensitivity.add_argument(
        "--events", metavar="N", type=events, help="leave out points that take more events"
    )
    sensitivity.add_argument("--seed", metavar="N", type=int, default=1, help="of the draws (default: 1)")
    sensitivity.add_argument("--workers", metavar="N", type=workers, help="processes (default: one a cpu)")
    sensitivity.add_argument(
        "--keep", metavar="DIR", type=Path,
        help="keep each simulated point there as it finishes, and run none again that is there",
    )  # fmt: skip
    sensitivity.add_argument(
        "--out",
        metavar="DIR",
        type=Path,
        help="folder for tables and figures (default: results/NAME-sensitivity)",
    )
    sensitivity.add_argument("--dry-run", action="store_true", help="say what would be simulated, and stop")


def _curves(options: argparse.Namespace) -> int:
    from sim.analysis import scaling
    from sim.analysis.curve_report import EXPLANATION, FAIRNESS, curve_lines, fairness_lines
    from sim.analysis.distributions import percentile_table
    from sim.analysis.fairness import fairness_table
    from sim.analysis.tables import finished, read_report, read_run
    from sim.files import write_atomically
    from sim.terminal import console

    folder = found(options.run)
    run = read_run(folder, as_is=options.as_is)
    if finished(run.points).empty:
        raise InputError(Fault("no point of this run finished", str(folder / "points.csv")))
    curves = scaling.curve_table(run.points)
    tables = {
        "curves": curves,
        "speedups": scaling.speedup_table(run.points),
        "ratios": scaling.ratio_table(run.points, options.baseline),
        "replicates": scaling.replicate_table(run.points),
        "latencies": scaling.latency_table(run.points),
    }
    report = read_report(folder, run, ["cpus", "latencies"], as_is=options.as_is)
    if "cpus" in report:
        tables["fairness"] = fairness_table(report["cpus"])
    if "latencies" in report:
        tables["distributions"] = percentile_table(report["latencies"])
    if curves.empty:
        complain("no curve has two thread counts")
        return FAILED
    out: Path = options.out or folder / "curves"
    make_folder(out)
    stdout = console(sys.stdout)
    stdout.print(curve_lines(curves, run.title))
    stdout.print(EXPLANATION, highlight=False)
    if "fairness" in tables and not tables["fairness"].empty:
        say("")
        stdout.print(fairness_lines(tables["fairness"]))
        stdout.print(FAIRNESS, highlight=False)
    for name, table in tables.items():
        text = table.to_csv(index=False, lineterminator="\n")
        write_atomically(out / f"{name}.csv", lambda path, text=text: path.write_text(text, encoding="utf-8"))  # type: ignore[misc]
    say(f"tables: {out / 'curves.csv'} and {len(tables) - 1} more")
    return DONE


def _sensitivity(options: argparse.Namespace) -> int:
    from sim.analysis.figures import write_figure
    from sim.analysis.sensitivity import Effort, plan, study
    from sim.analysis.sensitivity_report import render, write_tables
    from sim.analysis.tornado import band_figure, tornado_figure
    from sim.experiment import available_cpus, choose, load, meter
    from sim.terminal import console

    experiment = load(options.experiment, quick=options.quick)
    effort = Effort(
        samples=options.samples, method=options.method, costs=options.costs, paths=options.paths,
        seed=options.seed,
    )  # fmt: skip
    planned = plan(experiment, choose(experiment.points, options.point), effort, options.conclusion)
    say(planned.bound())
    if options.dry_run:
        return DONE
    out: Path = options.out or Path("results") / f"{experiment.name}-sensitivity"
    make_folder(out)
    with meter(console(sys.stderr)) as progress:
        answer = study(
            planned, options.workers or available_cpus(), progress, keep=options.keep, events=options.events
        )
    render(answer, console(sys.stdout))
    tables = write_tables(answer, out)
    title = experiment.spec.title or experiment.name
    figures: dict[str, Figure | None] = {
        "tornado": tornado_figure(answer, f"{title}: what the costs do"),
        "bands": band_figure(answer, f"{title}: how far the costs may be off"),
    }
    say(f"tables: {tables[0]} and {len(tables) - 1} more")
    for name, figure in figures.items():
        if figure is not None:
            say(f"figure: {write_figure(figure, out, name)[0]}")
    return DONE
