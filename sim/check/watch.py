"""A small checker for tests that build a kernel themselves: owners of frames, TLBs, ranges."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sim.engine import Probe

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sim.engine.probe import CpuView
    from sim.hardware import Machine
    from sim.mm import AddressSpace


class Watch(Probe):
    """Holds what a run tells against what every design owes, while it happens.

    A frame has one owner and is not freed while a TLB translates to it, no two cpus have overlapping ranges
    to themselves. *owned* are the frames that are given away; *held* the ranges that some cpu has to itself.
    *spaces* are asked whether they let that be (`AddressSpace.shows_another`).
    It looks at every TLB each time that a frame is freed, so it is for few cpus; `Translations` is not.
    """

    def __init__(self) -> None:
        self.machine: Machine | None = None
        self.owned: set[int] = set()
        self.held: list[tuple[object, CpuView, int, int]] = []
        self.spaces: Sequence[AddressSpace] = ()

    def frame_allocated(self, cpu: CpuView, frame: int, order: int) -> None:
        for each in range(frame, frame + (1 << order)):
            assert each not in self.owned, f"frame {each} has two owners"
            self.owned.add(each)

    def frame_freed(self, cpu: CpuView, frame: int, order: int) -> None:
        assert self.machine is not None
        freed = range(frame, frame + (1 << order))
        for each in freed:
            assert each in self.owned, f"frame {each} is freed twice"
            self.owned.discard(each)
        for other in self.machine.cpus:
            for page, entry in () if other.tlb.stale else other.tlb.frames().items():
                shown = entry.frame in freed
                assert not shown or any(each.shows_another(page, entry.frame) for each in self.spaces), (
                    f"frame {entry.frame} is freed while {other} translates to it"
                )

    def range_locked(self, space: object, cpu: CpuView, start: int, end: int) -> None:
        for where, other, low, high in self.held:
            assert where is not space or end <= low or high <= start, (
                f"{cpu} and {other} both hold pages from {max(start, low):#x} on"
            )
        self.held.append((space, cpu, start, end))

    def range_unlocked(self, space: object, cpu: CpuView, start: int, end: int) -> None:
        self.held.remove((space, cpu, start, end))
