"""Frames for page tables, the same number for every replica (memory/detmem.rs).

Replicas replay the same operations, so each of them needs the same tables. Whichever comes first to an
operation that needs one is the leader: under a lock it takes a frame for every replica, each from the memory
of that one's node, and puts those of the others into their queues. Where one cannot be had nobody gets one,
so that the operation fails on all replicas or on none.

    leader    own queue empty |- fill: a frame of each node, queues of the others -|
    others    own queue: the frame

Source: vmware-labs/node-replicated-kernel at 38557a6, kernel/src/memory/detmem.rs.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Final

from sim.designs.nros.mutex import Mutex
from sim.engine import Activity, Steps
from sim.hardware import Machine
from sim.mm import PAGE_TABLE, Reference

if TYPE_CHECKING:
    from sim.designs.nros.frames import FrameCaches
    from sim.designs.nros.runner import Runner
    from sim.designs.nros.spec import NrosCosts
    from sim.engine.costs import AtClock

LOCK_FILL: Final = Activity("lock: tables of all replicas")


class TableFrames:
    """Of replica r the frames come from *nodes*[r]."""

    __slots__ = ("_caches", "_cost", "_fill", "_lines", "_nodes", "_queues")

    def __init__(
        self,
        machine: Machine,
        caches: FrameCaches,
        cost: AtClock[NrosCosts],
        nodes: Sequence[int],
        homes: Sequence[int],
    ) -> None:
        self._caches = caches
        self._cost = cost
        self._nodes = nodes
        self._queues: list[deque[int | None]] = [deque() for _ in nodes]
        self._lines = [
            machine.line(f"tables for replica {number}", home) for number, home in enumerate(homes)
        ]
        self._fill = Mutex(machine.line("tables for all replicas", homes[0]), LOCK_FILL)

    def take(self, runner: Runner, replica: int) -> Steps[int | None]:
        """A frame for a table of *replica*, None on all replicas if there are too few."""
        queue = self._queues[replica]
        runner.work(self._cost.new_table, PAGE_TABLE)
        yield from runner.write(self._lines[replica], PAGE_TABLE)
        if queue:
            return queue.popleft()
        yield from runner.acquire(self._fill)
        yield from runner.read(self._lines[replica], PAGE_TABLE)
        if not queue:
            yield from self._lead(runner, replica)
        yield from runner.release(self._fill)
        return queue.popleft()

    def _lead(self, runner: Runner, replica: int) -> Steps[None]:
        """Fill all queues; the leader's own frame goes through its queue too, at no cost."""
        caches = self._caches
        taken: list[int] = []
        for number, node in enumerate(self._nodes):
            frame = caches.take(runner) if number == replica else None
            if frame is None:
                frame = yield from caches.take_for_node(runner, node)
            if frame is None:
                break
            taken.append(frame)
        failed = len(taken) < len(self._nodes)
        if failed:
            for frame in taken:
                yield from caches.put(runner, frame)
        for number, queue in enumerate(self._queues):
            if number != replica:
                yield from runner.write(self._lines[number], PAGE_TABLE)
            queue.append(None if failed else taken[number])

    def references(self) -> Iterator[Reference]:
        """What waits for a replica that has not come so far."""
        for number, queue in enumerate(self._queues):
            for frame in queue:
                if frame is not None:
                    yield Reference(frame, "the tables for replica", number)
