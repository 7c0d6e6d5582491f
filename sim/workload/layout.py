"""Slots: where request j of thread i works."""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING

from sim.engine.units import PAGE_BYTES
from sim.errors import Fault, InputError, ModelError

if TYPE_CHECKING:
    from sim.workload.spec import WorkloadPlan


class Slots:
    """The layout of one run, in pages. *base* is None until the set-up has mapped the layout."""

    def __init__(self, plan: WorkloadPlan, threads: int, random: Random) -> None:
        layout = plan.layout
        self.pages = layout.request // PAGE_BYTES
        self._requests = plan.requests
        self._stride = layout.stride // PAGE_BYTES
        self.base = None if layout.base is None else layout.base // PAGE_BYTES
        total = threads * plan.requests
        shuffled = layout.order == "shuffled"
        leaves = layout.leaves if shuffled and layout.leaves is not None else threads
        per_leaf = -(-total // leaves)
        if per_leaf * layout.request > layout.stride:
            raise InputError(
                Fault(
                    f"{total} slots of {self.pages} pages do not fit into {leaves} windows "
                    f"of {self._stride} pages",
                    key="layout.leaves",
                    value=layout.leaves,
                    allowed=f"at least {-(-total * layout.request // layout.stride)} for {threads} threads",
                )
            )
        self.span = leaves * self._stride * layout.reserve
        offsets = [k // per_leaf * self._stride + k % per_leaf * self.pages for k in range(total)]
        if shuffled:
            for last in range(total - 1, 0, -1):  # Fisher-Yates
                other = int(random.random() * (last + 1))
                offsets[last], offsets[other] = offsets[other], offsets[last]
        self._offsets = offsets

    def at(self, thread: int, request: int) -> int:
        """First page of the slot."""
        return self._start + self._offsets[thread * self._requests + request]

    def all(self) -> list[int]:
        """First page of every slot, in thread order."""
        return [self._start + offset for offset in self._offsets]

    def own(self, thread: int) -> list[range]:
        """The pages of all slots of *thread*, by address; slots side by side are one range."""
        mine = sorted(self._offsets[thread * self._requests : (thread + 1) * self._requests])
        found: list[range] = []
        for offset in mine:
            start = self._start + offset
            if found and found[-1].stop == start:
                found[-1] = range(found[-1].start, start + self.pages)
            else:
                found.append(range(start, start + self.pages))
        return found

    @property
    def _start(self) -> int:
        if self.base is None:
            raise ModelError("the layout has no base: give layout.base, or map it in the set-up")
        return self.base
