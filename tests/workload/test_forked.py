"""Are the processes of a workload with `forked` what fork makes of its program?"""

from __future__ import annotations

from typing import Any, cast

import pytest

from sim.designs import DesignSpec
from sim.designs.cortenmm.space import CortenSpace
from sim.engine import Probe
from sim.files import load_spec
from sim.hardware import MachineSpec
from sim.mm import Fork
from sim.workload import Budget, WorkloadSpec, simulate
from sim.workload.processes import Processes
from sim.workload.run import _Run

TASKS = 3


class Forks(Probe):
    """Which cpu forks, and what else is asked of the kernel before the threads start."""

    def __init__(self) -> None:
        self.by: list[int] = []
        self.mmaps = 0

    def operation_begins(self, cpu: Any, operation: Any) -> None:
        if operation.name == "fork":
            self.by.append(cpu.id)
        self.mmaps += operation.name == "mmap"


class _SetUpError(Exception):
    """The set-up is over."""


def set_up(
    design: str, placement: str, monkeypatch: pytest.MonkeyPatch, workload: str = "mmap1"
) -> tuple[Processes, Forks]:
    """The processes of a workload when its threads are about to start."""
    probe, found = Forks(), []

    def stop(run: Any) -> None:
        found.append(run._processes)
        raise _SetUpError

    monkeypatch.setattr(_Run, "release", stop)
    with pytest.raises(_SetUpError):
        simulate(
            cast("MachineSpec", load_spec("machine", "desktop-8").spec),
            cast("DesignSpec", load_spec("design", design).spec),
            cast("WorkloadSpec", load_spec("workload", workload).spec),
            placement=placement,
            threads=TASKS,
            seed=1,
            budget=Budget(10**6, 10**12),
            probe=probe,
        )
    return found[0], probe


def vmas(space: Any) -> list[tuple[int, int, str]]:
    return [(mapping.start, mapping.end, str(mapping.rights)) for mapping in space.mappings()]


def leaves(space: Any) -> list[int]:
    """How many ranges each leaf of its maple tree has."""
    return [len(node.slots) for node in space.tree._root.below() if node.leaf]


@pytest.mark.parametrize("design", ["linux-6.0", "linux-6.7", "linux-6.13"])
def test_has_each_process_what_its_program_has(design: str, monkeypatch: pytest.MonkeyPatch) -> None:
    processes, forks = set_up(design, "processes", monkeypatch)
    assert len(set(map(id, processes.spaces))) == TASKS
    assert len(forks.by) == TASKS == len(set(forks.by))  # each on the cpu of its task
    for space in processes.spaces:
        assert vmas(space) == vmas(processes.program)
    loaded = processes.by_cpus()
    assert loaded.pop(cast("Any", processes.program)) == []
    assert [[cpu.id for cpu in cpus] for cpus in loaded.values()] == [[cpu] for cpu in forks.by]


@pytest.mark.parametrize(
    ("workload", "design", "program", "task"),
    [
        # mmap1 on Debian 12: 39 VMAs, and one more with [vvar_vclock]. Without it the first leaf is full.
        ("mmap1", "linux-6.10", [16, 15, 13], [16, 15, 13]),
        ("mmap1", "linux-6.13", [10, 7, 14, 14], [10, 7, 14, 14]),
        # brk2 on Debian 11, with a page behind the heap. Stored in order by fork, the first leaf had 15.
        ("brk2", "linux-6.7", [11, 15, 13, 10, 8], [16, 15, 11, 16]),
        ("brk2", "linux-6.8-mt-dup", [11, 15, 13, 10, 8], [12, 15, 13, 10, 8]),
    ],
)
def test_how_full_are_the_leaves_of_a_task_of_will_it_scale(
    workload: str, design: str, program: list[int], task: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What lib/maple_tree.c of 6.13.7 makes of the stores of exec and ld.so, built for user space (as
    tools/testing/radix-tree does) and fed with those of the program's maps."""
    processes, _ = set_up(design, "processes", monkeypatch, workload)
    assert leaves(processes.program) == program
    assert [leaves(space) for space in processes.spaces] == [task] * TASKS


def test_does_a_heap_that_was_forked_not_grow(monkeypatch: pytest.MonkeyPatch) -> None:
    """brk2: the page that a task adds to its heap is a VMA of its own (do_brk_flags: it has no pages of its
    parent's)."""
    processes, _ = set_up("linux-6.13", "processes", monkeypatch, "brk2")
    (space, *_) = processes.spaces
    added = set(vmas(space)) - set(vmas(processes.program))
    assert [end - start for start, end, _ in added] == [1]
    assert {start for start, _, _ in added} < {end for _, end, _ in vmas(processes.program)}


@pytest.mark.parametrize(("design", "placement"), [("linux-6.13", "threads"), ("cortenmm-adv", "processes")])
def test_is_the_program_where_nothing_is_forked(
    design: str, placement: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Threads have one process; a kernel that cannot fork lets each process do all that the program does."""
    monkeypatch.setattr(
        CortenSpace,
        "operations",
        {kind: how for kind, how in CortenSpace.operations.items() if kind is not Fork},
    )
    processes, probe = set_up(design, placement, monkeypatch)
    assert processes.program is None
    assert probe.by == []
    stacks = TASKS if placement == "threads" else 0
    forked, once = set_up("linux-6.13" if placement == "threads" else "linux-6.10", "processes", monkeypatch)
    assert forked.program is not None
    assert probe.mmaps - stacks == once.mmaps * len(processes.spaces)
