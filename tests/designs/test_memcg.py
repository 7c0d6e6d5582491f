"""Who pays for a page, and which counters of memory cgroups does that take?"""

from __future__ import annotations

from typing import Any

import pytest
from kernels import BASE, Process, design
from pydantic import ValidationError

from sim.engine import Probe, Steps
from sim.engine.probe import LineView
from sim.hardware import Cpu
from sim.mm import CreateFile, File, Ftruncate, MmapFile

BATCHES = {"charge_batch": 64, "uncharge_batch": 31}


class Counters(Probe):
    """The cgroups whose usage was written, in order."""

    def __init__(self) -> None:
        self.written: list[str] = []

    def line_transfer(
        self, line: LineView, cpu: int, source: int, distance: str, cost: int, exclusive: bool
    ) -> None:
        if line.name.endswith("memory.usage"):
            self.written.append(line.name.removesuffix(": memory.usage"))


def in_cgroup(levels: int | str, seen: Probe | None = None, **changes: Any) -> Process:
    memcg = {"levels": levels, **BATCHES}
    limits = {"lru_batch": 31}
    listeners = (seen,) if seen else ()
    return Process(
        "linux", cpus=2, changes={"memcg": memcg, "limits": limits, **changes}, listeners=listeners
    )


def usage(process: Process) -> list[int]:
    return [counter.usage for counter in process.kernel.memcg.counters]


def faults(process: Process, pages: int, cpu: int = 0) -> None:
    process.do(("mmap", pages, BASE), *(("touch", BASE + page) for page in range(pages)), cpu=cpu)


def test_how_many_counters_does_a_page_take() -> None:
    """Those of its cgroup and of each above, the root's too; none in the root, which is a cgroup as well."""
    for levels, counters in (("none", 0), (0, 0), (1, 2), (3, 4)):
        process = in_cgroup(levels)
        faults(process, 1)
        assert usage(process) == [64] * counters


def test_how_often_does_a_cpu_take_from_the_counters() -> None:
    """64 pages at once, each cpu for itself; the first has made three tables, too."""
    seen = Counters()
    process = in_cgroup(1, seen)
    faults(process, 125)
    assert usage(process) == [128, 128]
    process.do(("mmap", 1, BASE + 200), ("touch", BASE + 200), cpu=1)
    assert usage(process) == [192, 192]
    assert seen.written == ["cgroup 1", "root cgroup"] * 3


def test_in_which_batches_are_freed_pages_taken_out() -> None:
    """31, 31, 31 and 7 pages; the tables' go back to the stock of the cpu."""
    process = in_cgroup(1)
    faults(process, 100)
    taken: list[int] = []
    (counter, root) = process.kernel.memcg.counters
    uncharge = type(counter).uncharge

    class Told(type(counter)):  # type: ignore[misc]
        __slots__ = ()

        def uncharge(self, cpu: Cpu, pages: int) -> Steps[None]:
            taken.append(pages)
            return uncharge(self, cpu, pages)

    counter.__class__ = Told
    process.do(("munmap", BASE, 100))
    assert taken == [31, 31, 31, 7]
    assert counter.usage == root.usage == process.kernel.memcg.stocked == 128 - 100


def test_is_a_stock_of_more_than_a_batch_given_back() -> None:
    """refill_stock: 65 pages are one too many."""
    process = in_cgroup(2)
    memcg, cpu = process.kernel.memcg, process.cpus[0]
    for counter in memcg.counters:
        counter.charge_at_once(65)
    for freed in range(1, 66):
        for _ in memcg.refill_stock(cpu):
            pass
        assert memcg.stocked == freed % 65
    assert usage(process) == [0, 0, 0]


def test_is_the_work_of_a_charge_done_in_the_root_too_and_without_cgroups_not_at_all() -> None:
    def time(levels: int | str) -> int:
        process = in_cgroup(levels, costs={"memcg_charge": "100 us"})
        faults(process, 1)
        return process.machine.engine.now

    none, root, below = map(time, ("none", 0, 1))
    charge = 100_000_000
    assert none + charge == root < below < none + 2 * charge


def test_to_whom_are_the_pages_of_a_file_charged() -> None:
    """Those that are in memory before the run are charged, too; they are given back when the file is cut."""
    process = in_cgroup(1)
    found: list[File] = []

    def creates(cpu: Cpu) -> Steps[None]:
        file = yield from process.kernel.perform(cpu, CreateFile("file", 40, resident=True))
        found.append(file)
        assert usage(process) == [40, 40]
        yield from process.kernel.perform(cpu, Ftruncate(file, 8))
        assert usage(process) == [8, 8]
        yield from process.space.perform(cpu, MmapFile(file, 8, 0, False, BASE))

    process.run({0: creates})
    process.do(("touch", BASE))  # a copy, and three tables
    assert usage(process) == [72, 72]
    assert process.kernel.memcg.stocked == 60


@pytest.mark.parametrize(
    ("levels", "told"), [(-1, "from 0 on"), ("all", "none, or how many"), (True, "none")]
)
def test_which_levels_are_refused(levels: object, told: str) -> None:
    with pytest.raises(ValidationError, match=told):
        design("linux", {"memcg": {"levels": levels}})
