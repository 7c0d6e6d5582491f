"""Simulated operations a second: each design and micro-benchmark of `paper-micro`, from one cpu to 1,024.

A point is timed from its specs to its measurement: set-up and checks of the end state count, loading files
does not. With another checkout, both simulate each point in turns, and each pair gives a ratio.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from statistics import median
from typing import Final

from benchmarks import checkout
from benchmarks.checkout import Worker
from benchmarks.options import Options
from benchmarks.table import Row
from benchmarks.timing import ratio

TITLE: Final = "Simulated operations, by cpus"
DESIGNS: Final = ("linux-6.13", "cortenmm-rw", "cortenmm-adv")
WORKLOADS: Final = ("mmap", "mmap-pf", "pf", "unmap-virt", "unmap")
CPUS: Final = (1, 8, 64, 384, 1024)
PATIENCE: Final = 6.0
"""A point is simulated again until it has had this much cpu time (s): once to `ROUNDS` times."""
ROUNDS: Final = 7
QUICK_CPUS: Final = (8, 64)

LARGE: Final = {"machine.topology.clusters_per_socket": 32}
"""Makes the machine of the experiment (2 sockets of 12 clusters of 16 cpus) one of 1,024 cpus."""


@dataclass
class Timed:
    """The cpu times of one point, here and in the other checkout, and the operations that it simulates."""

    here: list[float] = field(default_factory=list)
    there: list[float] = field(default_factory=list)
    operations: int = 0

    @property
    def rate(self) -> float:
        """Operations a second, of the best round."""
        return self.operations / min(self.here)


def changes_of(design: str, workload: str, cpus: int) -> dict[str, object]:
    """What makes one point of the experiment."""
    changes: dict[str, object] = {
        "designs": [design],
        "workloads": [workload],
        "placements": ["low"],
        "threads": [cpus],
    }
    return changes | LARGE if cpus > 384 else changes


def measure(options: Options) -> Iterator[Row]:
    cpus = options.cpus or (QUICK_CPUS if options.quick else CPUS)
    ratios: dict[int, list[float]] = {size: [] for size in cpus}
    growth: dict[str, list[float]] = {design: [] for design in DESIGNS}
    with ExitStack() as stack:
        here = stack.enter_context(Worker())
        there = stack.enter_context(Worker(options.against)) if options.against else None
        for worker in filter(None, (here, there)):
            worker.simulate(changes_of("linux-6.13", "pf", 8))
        for design in DESIGNS:
            for workload in WORKLOADS:
                timed = {
                    size: _timed(here, there, changes_of(design, workload, size), options) for size in cpus
                }
                name = f"{design}, {workload}"
                yield Row(name, "op/s", {size: taken.rate for size, taken in timed.items()})
                if {8, 384} <= set(cpus):
                    growth[design].append(timed[8].rate / timed[384].rate)
                if options.against:
                    for size, taken in timed.items():
                        ratios[size].append(ratio(taken.there, taken.here))
                    times = {size: ratios[size][-1] for size in cpus}
                    yield Row(f"{name}, over {checkout.name(options.against)}", "times", times, digits=2)
    if options.against:
        medians = {size: median(ratios[size]) for size in cpus}
        over = checkout.name(options.against)
        whole = median(value for values in ratios.values() for value in values)
        yield Row(f"median, over {over}", "times", medians, whole, digits=2)
    for design, values in growth.items():
        if values:
            yield Row(
                f"{design}, time an operation at 384 cpus over 8, median", "times", {}, median(values), 2
            )


def _timed(here: Worker, there: Worker | None, changes: dict[str, object], options: Options) -> Timed:
    timed = Timed()
    rounds = 1 if options.quick else ROUNDS
    while len(timed.here) < rounds and sum(timed.here) + sum(timed.there) < PATIENCE:
        done = here.simulate(changes)
        timed.here += done.seconds
        timed.operations = done.operations
        if there is not None:
            other = there.simulate(changes)
            if other.operations != done.operations:
                raise RuntimeError(f"{changes}: {done.operations} operations here, {other.operations} there")
            timed.there += other.seconds
    return timed
