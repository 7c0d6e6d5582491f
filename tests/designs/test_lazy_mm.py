"""What does a cpu touch in the mm that it borrows while it idles?"""

from __future__ import annotations

from typing import Any

import pytest
from kernels import Process
from machines import NS

from sim.designs.linux.layout import MmField
from sim.engine import Activity, Probe, Steps
from sim.engine.probe import LineView
from sim.hardware import Cpu
from sim.sync import SCHED

US = 1000 * NS

TOGETHER: tuple[MmField, ...] = ("membarrier_state", "mm_count", "pcpu_cid")
WITH_THE_LOCK: tuple[MmField, ...] = ("mm_count", "cid_lock")


class Transfers(Probe):
    """The lines that cpu 0 takes (W) or shares (R) of an mm, in order."""

    def __init__(self) -> None:
        self.seen: list[str] = []

    def line_transfer(
        self, line: LineView, cpu: int, source: int, distance: str, cost: int, exclusive: bool
    ) -> None:
        if cpu == 0 and line.name.startswith("mm."):
            self.seen.append(f"{'W' if exclusive else 'R'} {line.name.removeprefix('mm.')}")


def slept(groups: tuple[tuple[MmField, ...], ...] = (), mm_cid: str = "none") -> tuple[list[str], list[str]]:
    """What cpu 0 fetches when it goes idle and when it comes back, where cpu 1 has written all before."""
    heard = Transfers()
    changes: dict[str, Any] = {"layout": {"mm_struct": groups}, "switches": {"mm_cid": mm_cid}}
    process = Process("linux", cpus=2, changes=changes, listeners=(heard,))
    space, scheduler = process.space, process.space.kernel.scheduler

    def takes_all(cpu: Cpu) -> Steps[None]:
        for line in dict.fromkeys(space.lines.values()):
            yield from line.write(cpu)

    def sleeper(cpu: Cpu) -> Steps[None]:
        yield from scheduler.nap(cpu, 200 * US, Activity("asleep"))

    def other(cpu: Cpu) -> Steps[None]:
        cpu.work(100 * US, Activity("user"))
        yield cpu.take_pending()
        went.extend(heard.seen)
        heard.seen.clear()
        yield from takes_all(cpu)

    went: list[str] = []
    process.run({1: takes_all})
    heard.seen.clear()
    process.run({0: sleeper, 1: other})
    return went, heard.seen


def test_is_each_cpu_that_idles_counted() -> None:
    """Written when it goes and when it comes, and nothing else of an mm with 6.5's layout."""
    assert slept() == (["W mm_count"], ["W mm_count"])
    assert slept(mm_cid="per cpu") == (["W mm_count"], ["W mm_count"])


def test_does_a_look_at_what_lies_beside_the_count_fetch_it_for_reading() -> None:
    """Until 6.4: membarrier_state is loaded just before the count is given back."""
    line = "+".join(("membarrier_state", "mm_count"))
    assert slept((("membarrier_state", "mm_count"),)) == ([f"W {line}"], [f"R {line}", f"W {line}"])


def test_are_numbers_that_a_cpu_keeps_only_read() -> None:
    """On the line of mm_count in 6.4, since 6.5 on that of the count of mmap_lock."""
    line = "+".join(TOGETHER)
    assert slept((TOGETHER,), "per cpu") == ([f"W {line}"], [f"R {line}", f"W {line}"])
    group: tuple[MmField, ...] = ("membarrier_state", "pcpu_cid", "mmap_lock.count")
    line = "+".join(group)
    assert slept((group,), "per cpu") == (["W mm_count", f"R {line}"], [f"R {line}", "W mm_count"])


def test_does_each_switch_change_the_mask_under_the_lock_of_6_3() -> None:
    """The lock comes first; where it lies with the count, the line comes once."""
    line = "+".join(WITH_THE_LOCK)
    went, came = slept((WITH_THE_LOCK,), "locked")
    assert went[0] == came[0] == f"W {line}"
    apart, back = slept((), "locked")
    assert apart[0] == back[0] == "W cid_lock"
    assert apart[-1] == back[-1] == "W mm_count"


@pytest.mark.parametrize("mm_cid", ["none", "locked"])
def test_do_cpus_that_idle_take_turns_at_the_count(mm_cid: str) -> None:
    """Four cpus of two sockets nap at once: each waits for the lines of those before it."""
    process = Process("linux", cpus=4, changes={"switches": {"mm_cid": mm_cid}})
    scheduler, spent = process.space.kernel.scheduler, {}

    def sleeper(cpu: Cpu) -> Steps[None]:
        yield from scheduler.nap(cpu, 50 * US, Activity("asleep"))
        spent[cpu.id] = cpu.spent[SCHED]

    process.run({0: sleeper})
    alone = spent[0]
    process.run(dict.fromkeys(range(4), sleeper))
    assert min(spent.values()) >= alone
    assert max(spent.values()) > alone + 2 * 20 * NS
