"""What the steps `malloc`, `mfree` and `realloc` do: the heaps of a run's processes."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from sim.engine import Activity, Steps
from sim.errors import ModelError
from sim.workload.allocator_spec import AllocatorSpec
from sim.workload.allocators import Block, Heap, make_heap, write
from sim.workload.draws import AnySize, SizeDraw, drawing
from sim.workload.lock_spec import PlainLock
from sim.workload.locks import NamedLock, Workshop, make_lock

if TYPE_CHECKING:
    from sim.mm import AddressSpace
    from sim.workload.heap_spec import MallocStep, MfreeStep, ReallocStep
    from sim.workload.thread import Worker

LOCK_MALLOC: Final = Activity("lock: malloc")


class Heaps:
    """The allocator of each process, made when it is first used."""

    def __init__(self, spec: AllocatorSpec, shop: Workshop) -> None:
        self._spec = spec
        self._shop = shop
        self._heaps: dict[AddressSpace, Heap] = {}

    def of(self, worker: Worker) -> Heap:
        """The heap of the process that *worker* is in."""
        heap = self._heaps.get(worker.space)
        if heap is None:
            cpus = len(self._shop.machine.cpus)
            heap = self._heaps[worker.space] = make_heap(self._spec, self._lock, cpus)
        return heap

    def malloc(self, step: MallocStep) -> Callable[[Worker], Steps[None]]:
        """The action of *step*."""
        size, written, name, shared = _size(step.size, step.stream), step.written, step.name, step.shared

        def run(worker: Worker) -> Steps[None]:
            heap, asked = self.of(worker), size(worker)
            block = yield from heap.malloc(worker, asked)
            _named(heap, worker, name, shared=shared).append(block)
            yield from write(worker, block.start, asked if written is None else min(written, asked))

        return run

    def mfree(self, step: MfreeStep) -> Callable[[Worker], Steps[None]]:
        """The action of *step*."""
        name, shared, keep = step.name, step.shared, step.keep
        above = keep if step.above is None else step.above

        def run(worker: Worker) -> Steps[None]:
            heap = self.of(worker)
            blocks = _named(heap, worker, name, shared=shared)
            if len(blocks) <= above:
                return
            while len(blocks) > keep:
                yield from heap.free(worker, blocks.popleft())

        return run

    def realloc(self, step: ReallocStep) -> Callable[[Worker], Steps[None]]:
        """The action of *step*."""
        size, name, shared = _size(step.size, step.stream), step.name, step.shared

        def run(worker: Worker) -> Steps[None]:
            heap = self.of(worker)
            blocks = _named(heap, worker, name, shared=shared)
            if not blocks:
                raise ModelError(f"{worker.title}: nothing is allocated as {name}")
            block = yield from heap.realloc(worker, blocks.pop(), size(worker))
            to = _named(heap, worker, name, shared=shared or step.hand_over)
            to.append(block)

        return run

    def _lock(self, name: str) -> NamedLock:
        return make_lock(self._shop, f"malloc {name}", PlainLock(kind="pthread-mutex"), LOCK_MALLOC)


def _named(heap: Heap, worker: Worker, name: str, *, shared: bool) -> deque[Block]:
    return heap.blocks[name, None if shared else worker.number]


def _size(size: AnySize, stream: str) -> Callable[[Worker], int]:
    if isinstance(size, SizeDraw):
        draw = drawing(size, 1)
        return lambda worker: max(1, draw(worker.stream(stream)))
    return lambda worker: size
