"""Does a fork step run its child to the end, in a space of its own, and come back to the parent?"""

from __future__ import annotations

from typing import Any

import pytest
from kernels import design
from plain import measure, workload

from sim.engine import Probe
from sim.engine.probe import CpuView
from sim.mm import Exec, Exit, Fork, Mmap, Munmap, SwitchMm
from sim.workload.demands import lacking, never_works


class Asked(Probe):
    """What was asked, in order, and how often cpus switched."""

    def __init__(self) -> None:
        self.kinds: list[type] = []
        self.switches = 0

    def operation_begins(self, cpu: CpuView, operation: object) -> None:
        self.kinds.append(type(operation))

    def context_switch(self, cpu: CpuView) -> None:
        self.switches += 1


def forking(*steps: dict[str, Any], exec_first: bool = False) -> Any:
    return workload(
        stack=None,
        layout=None,
        measured=None,
        pooled_threads=None,
        requests=2,
        placements={},
        thread=[
            {"mmap": {"at": "anywhere", "size": "16 KiB"}},
            {"touch": {"at": "mapped"}},
            {"fork": {"exec": exec_first, "steps": list(steps)}},
            {"touch": {"at": "mapped"}},
            {"munmap": {"at": "mapped"}},
        ],
    )


@pytest.mark.parametrize("exec_first", [False, True])
def test_what_does_a_fork_come_to(exec_first: bool) -> None:
    asked = Asked()
    inside = [{"mmap": {"at": "anywhere", "size": "8 KiB"}}, {"touch": {"at": "mapped"}}]
    measure(forking(*inside, exec_first=exec_first), "linux", placement="", threads=1, probe=asked)
    wanted = {Fork, SwitchMm, Exec, Mmap, Exit, Munmap}
    once = [Mmap, Fork, SwitchMm, *([Exec] if exec_first else []), Mmap, Exit, SwitchMm, Munmap]
    assert [kind for kind in asked.kinds if kind in wanted] == 2 * once
    assert asked.switches == 4


def test_does_the_parent_copy_what_it_shares_with_a_child_and_not_later() -> None:
    """A page that both have is copied by whoever writes it first: here the child, so the parent does not."""

    class Copies(Probe):
        def __init__(self) -> None:
            self.sources: list[int | None] = []

        def frame_filled(self, cpu: CpuView, frame: int, source: int | None) -> None:
            self.sources.append(source)

    copies = Copies()
    measure(forking({"touch": {"at": "mapped"}}), "linux", placement="", threads=1, probe=copies)
    assert sum(source is not None for source in copies.sources) == 2 * 4
    idle = Copies()
    measure(forking(), "linux", placement="", threads=1, probe=idle)
    assert all(source is None for source in idle.sources)


def test_may_a_child_not_touch_what_it_has_lost() -> None:
    fault = never_works(forking({"touch": {"at": "mapped"}}, exec_first=True), "")
    assert fault is not None
    assert (fault.key, fault.message) == ("thread[2].fork.steps[0]", "touches pages that are not mapped")
    assert never_works(forking({"munmap": {"at": "mapped"}}), "") is None  # the parent still has it


def test_is_a_design_refused_that_does_not_fork() -> None:
    assert {"fork", "exit"} <= set(lacking(design("adv"), forking()))
    assert lacking(design("linux"), forking()) == []
