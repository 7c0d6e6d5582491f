"""What a page costs the simulator, and how much memory a point takes. Each point has a process of its own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from benchmarks.checkout import Answer, Worker
from benchmarks.operations import DESIGNS, changes_of
from benchmarks.options import Options
from benchmarks.table import Row

TITLE: Final = "Memory, by cpus"
CPUS: Final = (1, 64, 384, 1024)
POINT: Final = "unmap"
"""Maps, touches and unmaps: entries, frames, TLBs and shootdowns."""

WORKLOADS: Final = Path(__file__).with_name("workloads")
SMALL: Final = 4
"""MiB that a page's cost does not count: machine, tables and imports are there by then."""
MIB: Final = 1 << 20
PAGES_A_MIB: Final = 256


def measure(options: Options) -> Iterator[Row]:
    for workload, large, what in (
        ("populated", 256 if options.quick else 4096, "populated by the set-up"),
        ("touched", 16 if options.quick else 256, "that a thread touches"),
    ):
        for design in DESIGNS:
            one, many = (_alone(_one_thread(design, workload, size)) for size in (SMALL, large))
            pages = (large - SMALL) * PAGES_A_MIB
            name = f"{design}: a page {what}, of {pages:,}"
            yield Row(name, "µs", {}, (many.seconds[0] - one.seconds[0]) / pages * 1e6, 2)
            yield Row(name, "bytes", {}, (many.peak - one.peak) / pages)
    cpus = CPUS[:2] if options.quick else CPUS
    points = {design: {size: _alone(changes_of(design, POINT, size)) for size in cpus} for design in DESIGNS}
    for design, answers in points.items():
        peaks = {size: answer.peak / MIB for size, answer in answers.items()}
        yield Row(f"{design}, {POINT}: peak of a process that simulates one point", "MiB", peaks)
    before = {size: answer.before / MIB for size, answer in points[DESIGNS[0]].items()}
    yield Row("of which are imports and specs", "MiB", before)


def _one_thread(design: str, workload: str, size: int) -> dict[str, object]:
    """Changes that give one thread *size* MiB."""
    path = str(WORKLOADS / f"{workload}.yaml")
    return changes_of(design, path, 1) | {"workload.parameters.size": f"{size} MiB"}


def _alone(changes: dict[str, object]) -> Answer:
    with Worker() as worker:
        return worker.simulate(changes)
