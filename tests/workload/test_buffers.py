"""A buffer manager in user space: what look-ups ask of the kernel, who evicts, and what is refused."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from machines import raw_spec, run, small_machine
from plain import BUDGET, workload
from pydantic import ValidationError

from sim.engine import Probe
from sim.engine.probe import CpuView
from sim.hardware import MachineSpec
from sim.mm import DirectRead, ExmapFree, ExmapRead, Madvise
from sim.verify.kernels import design
from sim.workload import simulate
from sim.workload.buffers.resident import ResidentPages

DRIVE = {
    **dict.fromkeys(("submit", "complete", "call", "pin"), "10 cycles"),
    "read_latency": "5 us",
    "write_latency": "20 us",
    "read_bandwidth": "4 GB/s",
    "write_bandwidth": "2 GB/s",
}
WITH_DRIVE: dict[str, Any] = {"drive": DRIVE}
WITH_EXMAP: dict[str, Any] = {
    "drive": DRIVE,
    "exmap": {
        "give": "before-flush",
        "costs": dict.fromkeys(("call", "proxy", "part", "page"), "10 cycles"),
    },
}


class Asked(Probe):
    """How often each operation was asked for, and how many pages FREE was asked about."""

    def __init__(self) -> None:
        self.times: Counter[type] = Counter()
        self.parts = self.flushes = 0

    def operation_begins(self, cpu: CpuView, operation: Any) -> None:
        self.times[type(operation)] += 1
        if isinstance(operation, ExmapFree):
            self.parts += len(operation.parts)

    def flush(self, cpu: CpuView, pages: int) -> None:
        self.flushes += 1


def tree(leaves: int) -> list[dict[str, Any]]:
    return [{"pages": 1, "search": "20 ns"}, {"pages": leaves, "search": "20 ns"}]


def looking_up(leaves: int = 200, requests: int = 60, **changes: Any) -> Any:
    buffer = {
        "resident": "256 KiB",
        "pool": "8 MiB",
        "batch": 8,
        "interfaces": 4,
        "probe": "2 ns",
        "look_up": "50 ns",
        "tree": tree(leaves),
        **changes,
    }
    return workload(
        stack=None,
        layout=None,
        measured=None,
        pooled_threads=None,
        placements={},
        requests=requests,
        buffer=buffer,
        setup=[{"fill_buffer": True}],
        thread=[{"look_up": {}}],
    )


def run_on(spec: Any, changes: dict[str, Any], threads: int, probe: Probe) -> None:
    """*spec* under a Linux with *changes*."""
    machine = MachineSpec.model_validate(raw_spec())
    kernel = design("linux", changes)
    simulate(machine, kernel, spec, placement="", threads=threads, seed=0, budget=BUDGET, probe=probe)


@pytest.mark.parametrize("changes", [WITH_DRIVE, WITH_EXMAP])
def test_are_as_many_pages_given_back_as_come(changes: dict[str, Any]) -> None:
    """In batches of 8, one FREE for each, or one madvise for each page. Each is a flush, the latter where the
    page is there, which it always is."""
    asked = Asked()
    run_on(looking_up(), changes, 3, asked)
    by_exmap = "exmap" in changes
    read = asked.times[ExmapRead if by_exmap else DirectRead]
    gone = asked.parts if by_exmap else asked.times[Madvise]
    assert 90 < read < 180, "a third of the leaves fit"
    assert read - 8 <= gone <= read + 3 * 8
    assert asked.flushes == (asked.times[ExmapFree] if by_exmap else gone)
    if by_exmap:
        assert asked.times[ExmapFree] <= gone // 7


@pytest.mark.parametrize("changes", [WITH_DRIVE, WITH_EXMAP])
def test_is_the_kernel_asked_for_nothing_where_all_is_in_memory(changes: dict[str, Any]) -> None:
    asked = Asked()
    run_on(looking_up(leaves=40), changes, 2, asked)
    assert not {ExmapRead, ExmapFree, DirectRead, Madvise} & asked.times.keys()


def test_does_a_design_without_a_drive_do_where_nothing_is_read() -> None:
    assert DirectRead not in looking_up(leaves=40).operations
    assert DirectRead in looking_up().operations


class Freed(Probe):
    """The pages that FREE was asked about, one after the other."""

    def __init__(self) -> None:
        self.freed: list[int] = []

    def operation_begins(self, cpu: CpuView, operation: Any) -> None:
        if isinstance(operation, ExmapFree):
            self.freed += [part.start for part in operation.parts]


def test_are_the_upper_levels_spared() -> None:
    """The root is used by each look-up, so the clock always finds it unmarked, or its mark is taken away."""
    heard = Freed()
    run_on(looking_up(), WITH_EXMAP, 3, heard)
    root = min(heard.freed) - 1
    assert heard.freed.count(root) <= 1


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"pool": "128 KiB"}, "pool"),
        ({"batch": 40}, "resident"),
        ({"resident": "5000 B"}, "whole number of pages"),
        ({"tree": []}, "at least 1"),
    ],
)
def test_what_makes_no_buffer(change: dict[str, Any], says: str) -> None:
    with pytest.raises(ValidationError, match=says):
        looking_up(**change)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"buffer": None}, "without a `buffer`"),
        ({"setup": []}, "nobody has filled"),
        ({"thread": [{"fill_buffer": True}, {"look_up": {}}]}, "filled once"),
    ],
)
def test_what_makes_no_look_up(change: dict[str, Any], says: str) -> None:
    spec = looking_up()
    with pytest.raises(ValidationError, match=says):
        workload(**{**spec.model_dump(exclude_unset=True, by_alias=True), **change})


def test_does_the_table_find_what_it_has() -> None:
    machine, pages = small_machine(), (3, 70, 900)
    table = ResidentPages(machine, 8, machine.line("counters"), 0)
    for page in pages:
        table.put(page)
    found: list[Any] = []

    def body(cpu: Any) -> Any:
        for page in (*pages, 4):
            there = yield from table.remove(cpu, page)
            found.append(there)
        yield from table.insert(cpu, 5)
        again = yield from table.remove(cpu, 5)
        found.append(again)

    run(machine, {0: body})
    assert found == [True, True, True, False, True]
