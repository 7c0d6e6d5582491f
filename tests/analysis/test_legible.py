"""Can every kind of figure be read, whatever the run: no text over another or off the paper?"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pandas as pd
import pytest
from legible import stumbles
from matplotlib.figure import Figure

from sim.analysis.figures import run_figures
from sim.analysis.published import Observation, default_files, read_published
from sim.analysis.tables import FROM_LATENCY, RunTables, labelled

LONG = "a-workload-with-quite-a-long-name"
FEW = {"workloads": ("pf", "unmap-virt"), "placements": ("low",), "threads": (1, 8, 384)}
Frame = Callable[..., pd.DataFrame]


def swept(points: pd.DataFrame, **values: list[object]) -> pd.DataFrame:
    """*points* at each of the *values* of a column; `__` stands for the dots of its name."""
    for name, several in values.items():
        column = name.replace("__", ".")
        points = pd.concat([points.assign(**{column: value}) for value in several], ignore_index=True)
    return points


def failed(points: pd.DataFrame, query: str) -> pd.DataFrame:
    lost = points.eval(query)
    numbers = [name for name in points if name.startswith(("throughput", "latency"))]
    return points.assign(status="ok").mask(
        lost & True, points.assign(**dict.fromkeys(numbers), status="failed")
    )


def two_throughputs(points: pd.DataFrame) -> pd.DataFrame:
    """Linux is told better by the benchmark than it is, the more threads the better."""
    better = 1 + points["threads"] / 50 * points["design"].str.startswith("linux")
    return points.assign(**{FROM_LATENCY: points["throughput_ops_per_us"] * better})


RUNS: dict[str, Callable[[Frame], pd.DataFrame]] = {
    "the paper's": lambda make: make(),
    "replicates": lambda make: make(replicates=3, **FEW),
    "one thread": lambda make: make(threads=(1,)),
    "one thread, replicates": lambda make: make(threads=(1,), replicates=3),
    "one design": lambda make: make(designs=("cortenmm-adv",), **FEW),
    "one point": lambda make: make(
        designs=("cortenmm-adv",), workloads=("pf",), placements=("",), threads=(1,)
    ),
    "one workload": lambda make: make(workloads=("pf",), placements=("low",)),
    "a dozen designs": lambda make: make(designs=["linux-6.13", *(f"my-idea-{n}" for n in range(11))], **FEW),
    "a dozen workloads": lambda make: make(
        workloads=[f"{LONG}-{n}" for n in range(12)], placements=("",), threads=(1, 64)
    ),
    "a dozen workloads, one thread": lambda make: make(
        workloads=[f"{LONG}-{n}" for n in range(12)], placements=("",), threads=(1,)
    ),
    "numbered workloads": lambda make: make(
        designs=("hardware",), workloads=[f"load-{n}GBps" for n in (2, 9.5, 40, 120, 226)], placements=("",),
        threads=(36,),
    ),
    "three machines": lambda make: pd.concat(
        [make(machine=name, **FEW | {"threads": (1, 8, most)}) for name, most in
         (("epyc-9965-guest", 384), ("xeon-6252x2", 48), ("a-machine-with-quite-a-long-name", 16))],
        ignore_index=True,
    ),
    "two throughputs": lambda make: two_throughputs(make(**FEW)),
    "two throughputs, one thread": lambda make: two_throughputs(make(threads=(64,))),
    "failed points": lambda make: failed(make(**FEW), "threads > 64 and design == 'linux-6.13'"),
    "a failed workload": lambda make: failed(make(**FEW), "workload == 'pf'"),
    "a failed baseline": lambda make: failed(make(**FEW), "design == 'linux-6.13'"),
    "a baseline that failed in places": lambda make: failed(
        make(**FEW), "design == 'linux-6.13' and workload == 'pf' and threads == 1"
    ),
    "a machine swept, as init does": lambda make: swept(
        make(workloads=("my-workload",), placements=("low",), threads=(1, 2, 4, 8, 16, 128)),
        machine__coherence__cross_socket=["240 ns", "320 ns"],
    ),
    "eleven values": lambda make: swept(
        make(workloads=("pf",), placements=("low",), threads=(1, 4, 64)),
        workload__spaces__pages=[1, 2, 3, 4, 8, 16, 24, 32, 33, 34, 64],
    ),
    "a long path": lambda make: swept(
        make(threads=(1, 48), workloads=("own-counters", "pf", "mmap"), placements=("",)),
        workload__lines__counters_of_each_of_them__each_thread=["8 B", "16 B", "32 B", "64 B"],
    ),
    "two sweeps": lambda make: swept(
        make(designs=("tlb-ipi",), workloads=("pf",), placements=("",), threads=(1,)),
        workload__spaces__pages=[64, 512, 4096, 16384], workload__spaces__apart=["4 KiB", "2 MiB"],
    ),
    "a sweep of words": lambda make: swept(
        make(**FEW),
        workload__pinning=["cores-first", "fill-socket", "siblings-first", "alternate-nodes"],
    ),
    "words at one thread count": lambda make: swept(
        make(threads=(8,)), workload__pinning=["cores-first", "fill-socket", "siblings-first"]
    ),
    "a switch of a design": lambda make: swept(
        make(**FEW), design__switches__lru_drain_on_zap=[True, False]
    ),
    "very slow and very fast": lambda make: make(
        curve=lambda design, workload, *_: 1e-6 if workload == "pf" else 1e5, **FEW
    ),
    "all the same": lambda make: make(curve=lambda *_: 1.0, **FEW),
    "no latency": lambda make: make(workloads=("pf",)).assign(latency_p50_ns=None, latency_mean_ns=None),
}  # fmt: skip


def drawn(points: pd.DataFrame, breakdown: pd.DataFrame) -> Iterator[tuple[str, Figure]]:
    title = "A title that is a sentence, as those of experiments on board are"
    run = RunTables("run", title, labelled(points), labelled(breakdown))
    return run_figures(run, PUBLISHED)


PUBLISHED: list[Observation] = list(read_published(default_files()))


OFTEN = {"one point", "two sweeps"}
"""Runs whose figures are looked at in CI; those of the others are slow tests."""


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=pytest.mark.ci if name in OFTEN else pytest.mark.slow) for name in RUNS],
)
def test_can_every_figure_of_a_run_be_read(name: str, make_points, make_breakdown) -> None:
    points = RUNS[name](make_points)
    swept_names = [column for column in points if "." in column]
    breakdown = make_breakdown(points)
    for column in swept_names:  # an activity has a row, a point ten
        breakdown[column] = points[column].repeat(len(breakdown) // len(points)).to_numpy()
    found = {kind: stumbles(figure) for kind, figure in drawn(points, breakdown)}
    assert len(found) >= 2
    assert {kind: faults for kind, faults in found.items() if faults} == {}


def test_is_an_overlap_found_and_a_text_off_the_paper() -> None:
    figure = Figure()
    ax = figure.subplots()
    ax.text(0.5, 0.5, "one thing")
    ax.text(0.5, 0.51, "another")
    ax.text(0.9, 0.8, "so long that it leaves the paper at its right")
    assert stumbles(figure) == [
        "leaves the paper: 'so long that it leaves the paper at its right'",
        "overlap: 'one thing' and 'another'",
    ]


def test_is_a_legend_taller_than_its_bars_found_and_a_tiny_panel() -> None:
    figure = Figure(figsize=(6, 2), layout="constrained")
    ax = figure.subplots()
    for number in range(6):
        ax.plot([number], [number], label=f"line {number}")
    figure.legend(loc="outside lower center")
    faults = stumbles(figure)
    assert [fault.split(" of ")[0] for fault in faults if not fault.startswith("overlap")] == [
        "a panel",
        "a legend",
    ]


def test_may_a_title_keep_lines_free_for_a_heading() -> None:
    figure = Figure()
    ax = figure.subplots()
    ax.set_title("\npanel")
    ax.annotate("heading", (0.5, 1), xycoords=(ax.transAxes, ax.title), va="top", ha="center")
    assert stumbles(figure) == []
    ax.set_title("two\npanel")
    assert stumbles(figure) == ["overlap: 'heading' and 'two\\npanel'"]
