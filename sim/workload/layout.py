"""Slots: where request j of thread i works."""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING

from sim.errors import Fault, InputError, ModelError
from sim.quantities import PAGE_BYTES, format_size

if TYPE_CHECKING:
    from sim.workload.plan import WorkloadPlan


class Slots:
    """The layout of one process, in pages: *slots* slots of *pages* for each of so many *threads*.

    *base* is None until the set-up has mapped the layout.
    """

    def __init__(self, plan: WorkloadPlan, threads: int, random: Random) -> None:
        layout = plan.layout
        assert layout is not None
        self.pages = layout.request // PAGE_BYTES
        self.threads = threads
        self.slots = plan.slots
        self._stride = layout.stride // PAGE_BYTES
        self.base = None if layout.base is None else layout.base // PAGE_BYTES
        if (fault := crowding(plan, threads)) is not None:
            raise InputError(fault)
        self.span = span(plan, threads)
        self._offsets = _dealt(plan, threads, random) if layout.order == "shuffled" else None

    def at(self, thread: int, request: int) -> int:
        """First page of the slot."""
        return self._start + self._offset(thread, request % self.slots)

    def all(self) -> list[int]:
        """First page of every slot, in thread order."""
        slots = range(self.slots)
        return [self._start + self._offset(thread, slot) for thread in range(self.threads) for slot in slots]

    def own(self, thread: int, requests: int | None = None) -> list[range]:
        """The pages of all slots of *thread*, or of those of its first *requests*, by address; slots side by
        side are one range."""
        slots = self.slots if requests is None else min(requests, self.slots)
        if not slots:
            return []
        if self._offsets is None:
            start = self._start + self._offset(thread, 0)
            return [range(start, start + slots * self.pages)]
        mine = sorted(self._offset(thread, slot) for slot in range(slots))
        found: list[range] = []
        for offset in mine:
            start = self._start + offset
            if found and found[-1].stop == start:
                found[-1] = range(found[-1].start, start + self.pages)
            else:
                found.append(range(start, start + self.pages))
        return found

    def _offset(self, thread: int, slot: int) -> int:
        """Pages from the layout's beginning to the slot."""
        if self._offsets is None:
            return thread * self._stride + slot * self.pages
        return self._offsets[thread * self.slots + slot]

    @property
    def _start(self) -> int:
        if self.base is None:
            raise ModelError("the layout has no base: give layout.base, or map it in the set-up")
        return self.base


def _dealt(plan: WorkloadPlan, threads: int, random: Random) -> list[int]:
    """Where each slot lies, in thread order, when all are dealt out at random."""
    layout = plan.layout
    assert layout is not None
    total = threads * plan.slots
    per_leaf, stride, pages = -(-total // _windows(plan, threads)), layout.stride, layout.request
    offsets = [(k // per_leaf * stride + k % per_leaf * pages) // PAGE_BYTES for k in range(total)]
    for last in range(total - 1, 0, -1):  # Fisher-Yates
        other = int(random.random() * (last + 1))
        offsets[last], offsets[other] = offsets[other], offsets[last]
    return offsets


def span(plan: WorkloadPlan, threads: int) -> int:
    """How many pages the layout takes up, its reserve included."""
    assert plan.layout is not None
    return _windows(plan, threads) * (plan.layout.stride // PAGE_BYTES) * plan.layout.reserve


def crowding(plan: WorkloadPlan, threads: int) -> Fault | None:
    """Why the slots of so many threads do not fit into their windows, if so; the key is the workload's."""
    if plan.layout is None:
        return None
    layout, total, windows = plan.layout, threads * plan.slots, _windows(plan, threads)
    needed = -(-total // windows) * layout.request
    if needed <= layout.stride:
        return None
    if layout.order == "shuffled" and layout.leaves is not None:
        return Fault(
            f"{total} slots of {format_size(layout.request)} do not fit into {windows} windows of "
            f"{format_size(layout.stride)}",
            key="layout.leaves",
            value=layout.leaves,
            allowed=f"at least {-(-total // (layout.stride // layout.request))} for {threads} threads",
        )
    return Fault(
        f"a thread's {plan.slots} slots of {format_size(layout.request)} do not fit into its window",
        key="layout.stride",
        value=format_size(layout.stride),
        allowed=f"at least {format_size(needed)}",
    )


def _windows(plan: WorkloadPlan, threads: int) -> int:
    """Over how many windows of *stride* the slots are spread."""
    layout = plan.layout
    assert layout is not None
    return layout.leaves if layout.order == "shuffled" and layout.leaves is not None else threads
