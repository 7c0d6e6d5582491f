"""Do marks that are written many lines at a time leave what marks written line by line leave?"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from kernels import BASE, LEAF, Process
from machines import SIBLINGS

from sim.engine import Steps
from sim.hardware import Cpu
from sim.mm import PTES_PER_LINE, Mmap, Mprotect, Munmap, PageTablePage

Body = Callable[[Cpu], Steps[Any]]

SIZES = [700, 2048, 2049, 5, 9, 8, 3 * LEAF]


def line_by_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(PageTablePage, "own_and_empty", lambda table, slot, stop, cpu: slot)


def stacks(process: Process, sizes: list[int]) -> Body:
    """Map them, write pages at the end of each, protect and unmap parts of some."""
    space = process.space

    def body(cpu: Cpu) -> Steps[None]:
        for number, pages in enumerate(sizes):
            at = yield from space.perform(cpu, Mmap(pages))
            yield from space.access(cpu, at + pages - 1)
            if number % 2:
                yield from space.perform(cpu, Mprotect(at, 3, 1))
            if number % 3 == 1:
                yield from space.perform(cpu, Munmap(at + 1, pages // 2))

    return body


def fixed(process: Process) -> Body:
    """Over the same pages again and again, from the middle of lines and tables."""
    space = process.space

    def body(cpu: Cpu) -> Steps[None]:
        for first, pages in ((3, 1000), (50, 2000), (0, 400), (LEAF - 1, 2 * LEAF + 2), (7, 9)):
            yield from space.perform(cpu, Mmap(pages, BASE + first, replace=True))
            yield from space.access(cpu, BASE + first + pages // 2)

    return body


CASES: dict[str, list[dict[int, Callable[[Process], Body]]]] = {
    "alone": [{0: lambda process: stacks(process, SIZES)}],
    "several cpus": [{cpu: lambda process: stacks(process, SIZES) for cpu in range(4)}],
    "one after another": [{1: fixed}, {0: fixed}, {2: fixed}],
    "all at once": [{0: fixed, 1: fixed, 3: lambda process: stacks(process, [64, 900])}],
}


def state(process: Process) -> dict[str, Any]:
    """All of it: time and accounts, entries, whose the lines are."""
    tables = list(process.space.root.tables())
    return {
        "now": process.machine.engine._now,
        "events": process.machine.engine.events,
        "spent": {cpu.id: {what: time for what, time in cpu.spent.items() if time} for cpu in process.cpus},
        "tables": [(table.level, table.base, table.present) for table in tables],
        "entries": [[str(table.get(slot)) for slot in range(LEAF)] for table in tables if table.level == 1],
        "lines": [
            (table.line(slot).owner, table.line(slot).sharers)
            for table in tables
            for slot in range(0, LEAF, PTES_PER_LINE)
        ],
        "mappings": list(process.space.mappings()),
    }


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize(
    ("kind", "machine"),
    [
        ("adv", {"coherence": {"spread": 0.1}}),
        ("rw", {"coherence": {"spread": 0.1, "sibling": "3 ns"}, "topology": SIBLINGS["topology"]}),
        ("rw", {"coherence": {"probe": 0.5}}),
    ],
)
def test_do_marks_by_range_leave_what_marks_line_by_line_leave(
    monkeypatch: pytest.MonkeyPatch, case: str, kind: str, machine: dict[str, Any]
) -> None:
    found: list[tuple[dict[str, Any], int]] = []
    at_once: list[int] = []
    keep = PageTablePage.written_by

    def written_by(table: PageTablePage, slot: int, stop: int, cpu: Cpu) -> None:
        at_once.append(stop - slot)
        keep(table, slot, stop, cpu)

    monkeypatch.setattr(PageTablePage, "written_by", written_by)
    for slowly in (False, True):
        with monkeypatch.context() as patched:
            if slowly:
                line_by_line(patched)
            process = Process(kind, machine=machine, cpus=4)
            for bodies in CASES[case]:
                process.run({cpu: body(process) for cpu, body in bodies.items()})
        found.append((state(process), sum(at_once)))
        at_once.clear()
        process.end()
    (by_range, many), (plain, none) = found
    assert many > 100 > none == 0
    assert {key: by_range[key] == plain[key] for key in plain} == dict.fromkeys(plain, True)
