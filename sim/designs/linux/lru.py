"""The LRU of anonymous pages, and the batches before it (mm/swap.c and mm/mlock.c, 6.13).

A new page enters its cpu's batch (a folio batch), which holds a reference of its own; a full batch goes to
the lruvecs of its pages' nodes. One lruvec a NUMA node that the kernel sees. Pages that become locked, or are
so no more, change their list in the lruvec: they go through a second batch of the cpu.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sim.designs.linux.lru_lists import LruLists, LruSet
from sim.designs.linux.lruvec import Lruvec
from sim.designs.linux.page_batches import batches, count_pages
from sim.engine import Activity, Steps
from sim.hardware import Cpu, Machine
from sim.mm import Allocator, Reference
from sim.quantities import PAGE_BYTES

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from sim.designs.linux.costs import Costs
    from sim.designs.linux.descriptors import Descriptors
    from sim.designs.linux.lru_lists import Which
    from sim.designs.linux.memcg import Charges, Memcg
    from sim.engine.costs import AtClock
    from sim.sync import QueueNodes

LRU: Final = Activity("lru")


class Lru:
    """Batches of up to *batch* pages, lruvecs, and who of the pages is where. Frees pages to *pages*, and
    takes *release_batch* of them at most off their lists at a time."""

    __slots__ = (
        "_batch",
        "_batches",
        "_booted",
        "_charges",
        "_cost",
        "_descriptors",
        "_frames",
        "_lazy",
        "_lazyfrees",
        "_lruvecs",
        "_memcg",
        "_mlocks",
        "_on_lru",
        "_pages",
        "_release_batch",
    )

    def __init__(
        self,
        machine: Machine,
        pages: Allocator,
        descriptors: Descriptors,
        batch: int,
        release_batch: int,
        cost: AtClock[Costs],
        nodes: QueueNodes,
        charges: Charges,
        memcg: Memcg,
        *,
        ordered: bool = False,
    ) -> None:
        """*charges* are those of all pages; those that are there before the run are *memcg*'s."""
        spec, numa_nodes = machine.spec, machine.spec.topology.numa_nodes
        self._pages = pages
        self._descriptors = descriptors
        self._charges = charges
        self._memcg = memcg
        self._batch = batch
        self._release_batch = release_batch
        self._cost = cost
        self._frames = spec.memory.size_per_socket * spec.topology.sockets // numa_nodes // PAGE_BYTES
        self._lruvecs = [Lruvec(machine, index, nodes) for index in range(numa_nodes)]
        self._batches: list[list[int]] = [[] for _ in machine.cpus]
        self._mlocks: list[list[tuple[int, bool]]] = [[] for _ in machine.cpus]
        """Pages whose list is to change, and whether they are on none yet."""
        self._lazyfrees: list[list[int]] = [[] for _ in machine.cpus]
        """Pages that are about to be among *_lazy*: those that may be taken away, unless written again."""
        self._lazy: set[int] = set()
        self._on_lru = LruLists(numa_nodes, self._frames) if ordered else LruSet()
        self._booted: list[int] = []

    def boot(self, cpu: Cpu, frames: list[int]) -> None:
        """Before anything runs: *frames*, which belong to processes that are no part of the run, are in the
        batch of *cpu*."""
        self._batches[cpu.id] = list(frames)
        self._booted += frames
        for frame in frames:
            self._pages.in_use.get(frame)

    def put_on_lists(self, frames: list[int]) -> None:
        """*frames* have long been charged, and on the lists of their nodes. Takes no time."""
        self._charges.charge_at_once(frames, self._memcg)
        self._on_lru.update(frames)

    def put_folio_on_lists(self, frame: int) -> None:
        """The same of a large folio, which has been charged."""
        self._on_lru.update([frame])

    def put_run_on_lists(self, frames: range) -> None:
        """The same of *frames*, which are on none."""
        self._charges.charge_at_once(frames, self._memcg)
        self._on_lru.add_run(frames)

    def add(self, cpu: Cpu, frame: int) -> Steps[None]:
        """folio_add_lru: into the cpu's batch, with a reference; a full batch goes to the lruvec."""
        cpu.work(self._cost.lru_add, LRU)
        batch = self._batches[cpu.id]
        batch.append(frame)
        self._pages.in_use.get(frame)
        if len(batch) >= self._batch or frame in self._pages.in_use.orders:  # a huge page waits for nobody
            yield from self._drain_new(cpu)

    def change_list(self, cpu: Cpu, frame: int, *, new: bool = False) -> Steps[None]:
        """mlock_folio, munlock_folio, with *new* mlock_new_folio: to the list of what cannot be evicted, or
        back, by a batch of the cpu as in `add`."""
        cpu.work(self._cost.lru_add, LRU)
        batch = self._mlocks[cpu.id]
        frame = self._pages.in_use.head(frame)
        batch.append((frame, new))
        self._pages.in_use.get(frame)
        if len(batch) >= self._batch or frame in self._pages.in_use.orders:
            yield from self._drain_mlocks(cpu)

    def is_waiting(self, cpu: Cpu, frame: int) -> bool:
        """Whether *frame* waits in a batch of *cpu*."""
        if frame in self._batches[cpu.id] or frame in self._lazyfrees[cpu.id]:
            return True
        return any(frame == waits for waits, _ in self._mlocks[cpu.id])

    def is_lazyfree(self, frame: int) -> bool:
        """Whether *frame* may be taken away without being written anywhere, if its entry is not dirty."""
        return frame in self._lazy

    def mark_lazyfree(self, cpu: Cpu, frame: int) -> Steps[None]:
        """folio_mark_lazyfree: a page that is on a list, and not in some cpu's batch, is taken from it."""
        if frame in self._lazy or frame not in self._on_lru:
            return
        cpu.work(self._cost.lru_add, LRU)
        self._on_lru.discard(frame)
        self._pages.in_use.get(frame)
        batch = self._lazyfrees[cpu.id]
        batch.append(frame)
        if len(batch) >= self._batch or frame in self._pages.in_use.orders:
            yield from self._drain_lazyfrees(cpu)

    def _drain_lazyfrees(self, cpu: Cpu) -> Steps[None]:
        batch, self._lazyfrees[cpu.id] = self._lazyfrees[cpu.id], []
        self._lazy.update(batch)
        yield from self._move(cpu, batch)

    def drain(self, cpu: Cpu) -> Steps[None]:
        """lru_add_drain: move what is in the cpu's batches; the batches' own references end here."""
        yield from self._drain_new(cpu)
        if self._lazyfrees[cpu.id]:
            yield from self._drain_lazyfrees(cpu)
        if self._mlocks[cpu.id]:
            yield from self._drain_mlocks(cpu)

    def _drain_mlocks(self, cpu: Cpu) -> Steps[None]:
        """mlock_folio_batch."""
        batch, self._mlocks[cpu.id] = self._mlocks[cpu.id], []
        frames = [frame for frame, _ in batch]
        yield from self._section(cpu, frames)
        self._on_lru.update(frame for frame, new in batch if new)
        for frame in frames:
            if self._on_lru.which(frame) == "unevictable":
                self._on_lru.move(frame, "inactive")  # a scan that comes to it will see
        yield from self.release(cpu, frames)

    def _drain_new(self, cpu: Cpu) -> Steps[None]:
        batch = self._batches[cpu.id]
        if not batch:
            cpu.work(self._cost.lru_add, LRU)
            return
        self._batches[cpu.id] = []
        yield from self._move(cpu, batch)

    def _move(self, cpu: Cpu, batch: list[int]) -> Steps[None]:
        """folio_batch_move_lru, for pages that are on no list: to the one where they belong."""
        yield from self._section(cpu, batch)
        free: dict[int | range, int] = {}
        for frame in batch:
            order = yield from self._put(cpu, frame)
            if order is not None:
                free[frame] = order
            else:
                self._on_lru.add(frame)
        yield from self._free(cpu, free)

    def release(self, cpu: Cpu, frames: Sequence[int | range]) -> Steps[None]:
        """free_pages_and_swap_cache: give up references; pages without any leave the LRU and are free.

        A page that still waits in some cpu's batch is freed when that batch is drained.
        """
        for batch in batches(frames, self._charges.batch):
            yield from self._put_refs(cpu, batch)

    def _put_refs(self, cpu: Cpu, frames: Sequence[int | range]) -> Steps[None]:
        """folios_put_refs of a folio batch; until 6.8 release_pages of a batch of mmu_gather, which lets the
        lock go each time that a number of pages has gone."""
        last_reference: dict[int | range, int] = {}
        for each in frames:
            if isinstance(each, range):
                last_reference |= yield from self._put_run(cpu, each)
                continue
            frame = self._pages.in_use.head(each)
            order = yield from self._put(cpu, frame)
            if order is not None:
                last_reference[frame] = order
        listed: list[int | range] = []
        for each in last_reference:
            if isinstance(each, range):
                listed += self._on_lru.part(each)
            elif each in self._on_lru:
                listed.append(each)
        for part in batches(listed, self._release_batch):
            yield from self._section(cpu, part)
            self._on_lru.discard_all(part)
        yield from self._free(cpu, last_reference)

    def _free(self, cpu: Cpu, frames: Mapping[int | range, int]) -> Steps[None]:
        """free_unref_folios, of *frames* with their orders."""
        yield from self._charges.uncharge(cpu, [*frames])
        for each, order in frames.items():
            if isinstance(each, range):
                yield from self._pages.free_run(cpu, each)
            else:
                yield from self._pages.free_unref(cpu, each, order)

    def _put_run(self, cpu: Cpu, frames: range) -> Steps[dict[int | range, int]]:
        """`_put` of each of *frames*; value: those whose last reference has gone, in order."""
        if self._descriptors.put_run(cpu, frames, activity=LRU):
            gone = self._pages.in_use.put_run(frames)
            for part in gone:
                self._descriptors.forget_run(part)
                if self._lazy:
                    self._lazy.difference_update(part)
            return dict.fromkeys(gone, 0)
        last_reference: dict[int | range, int] = {}
        for frame in frames:
            order = yield from self._put(cpu, frame)
            if order is not None:
                last_reference[frame] = order
        return last_reference

    # -- reclaim (`vmscan`) -------------------------------------------------------------------------

    @property
    def lists(self) -> LruLists | LruSet:
        """Which page stands where."""
        return self._on_lru

    @property
    def lazyfree_pages(self) -> int:
        """Pages that may be taken away without being written anywhere."""
        return len(self._lazy)

    def isolate(self, cpu: Cpu, node: int, which: Which, count: int) -> Steps[list[int]]:
        """isolate_lru_folios: take up to *count* pages from the tail of a list, each with a reference.

        One whose last owner has just gone stays: who frees it waits for the lock, to take it off the list.
        """
        frames: list[int] = []
        lruvec = self._lruvecs[node]
        yield from lruvec.lock(cpu)
        found = self._on_lru.isolate(node, which, count)
        for frame in found:
            if self._pages.in_use.try_get(frame):
                frames.append(frame)
            else:
                self._on_lru.add(frame, which)
        cpu.work(self._cost.lru_move + len(found) * self._cost.lru_page, LRU)
        yield from lruvec.unlock(cpu)
        return frames

    def isolate_page(self, cpu: Cpu, frame: int) -> Steps[bool]:
        """folio_isolate_lru: this page; value: whether it was on a list."""
        lruvec = self._lruvec_of(frame)
        yield from lruvec.lock(cpu)
        found = frame in self._on_lru
        if found:
            self._on_lru.discard(frame)
            self._pages.in_use.get(frame)
        cpu.work(self._cost.lru_page, LRU)
        yield from lruvec.unlock(cpu)
        return found

    def put_back(self, cpu: Cpu, node: int, back: Mapping[int, Which]) -> Steps[None]:
        """move_folios_to_lru: each page to its list, without the reference; what has no other is free."""
        free: dict[int | range, int] = {}
        lruvec = self._lruvecs[node]
        yield from lruvec.lock(cpu)
        for frame, which in back.items():
            order = yield from self._put(cpu, frame)
            if order is None:
                self._on_lru.add(frame, which)
            else:
                free[frame] = order
        cpu.work(self._cost.lru_move + len(back) * self._cost.lru_page, LRU)
        yield from lruvec.unlock(cpu)
        yield from self._free(cpu, free)

    def free_isolated(self, cpu: Cpu, frame: int) -> Steps[None]:
        """free_unref_folios, of one that is isolated and that nobody else has."""
        order = yield from self._put(cpu, frame)
        assert order == 0, f"frame {frame} is reclaimed and has other owners"
        yield from self._free(cpu, {frame: 0})

    def rotate(self, frame: int) -> None:
        """folio_rotate_reclaimable, in an interrupt: a page has been written, the next scan shall free it."""
        self._on_lru.move(frame, "rotated")

    def deactivate(self, cpu: Cpu, frames: list[int]) -> Steps[None]:
        """folio_deactivate, as far as its batch: *frames* that are on a list are inactive from now on."""
        yield from self._section(cpu, frames)
        for frame in frames:
            self._on_lru.move(frame, "inactive")

    def keep_lazyfree(self, frame: int) -> None:
        """folio_set_swapbacked: it has been written again, or somebody holds it."""
        self._lazy.discard(frame)

    def _put(self, cpu: Cpu, frame: int) -> Steps[int | None]:
        """folio_put_testzero: where others may have used the page, its descriptor is fetched.

        Value: the order of the block, if that was its last reference.
        """
        if frame in self._descriptors:
            yield from self._descriptors.write(cpu, frame, activity=LRU)
        order = self._pages.in_use.orders.get(frame, 0)
        if not self._pages.in_use.put(frame, order):
            return None
        self._descriptors.forget(frame)
        self._lazy.discard(frame)
        return order

    def _section(self, cpu: Cpu, frames: Sequence[int | range]) -> Steps[None]:
        """Work on the lruvecs that *frames* belong to, one after the other, with interrupts off."""
        for lruvec in self._lruvecs:
            pages = sum(count_pages(frame) for frame in frames if self._lruvec_of(frame) is lruvec)
            if not pages:
                continue
            yield from lruvec.lock(cpu)
            cpu.work(self._cost.lru_move + pages * self._cost.lru_page, LRU)
            yield from lruvec.unlock(cpu)

    def _lruvec_of(self, frame: int | range) -> Lruvec:
        return self._lruvecs[self.node_of(frame.start if isinstance(frame, range) else frame)]

    def node_of(self, frame: int) -> int:
        """The node whose lists *frame* is for."""
        return frame // self._frames

    # -- the end state --------------------------------------------------------------------------------------

    def references(self) -> Iterator[Reference]:
        """Pages that wait in a batch, and those that were there before the run."""
        for cpu, batch in enumerate(self._batches):
            for frame in batch:
                yield Reference(frame, "the LRU batch of cpu", cpu)
        for cpu, batch in enumerate(self._lazyfrees):
            for frame in batch:
                yield Reference(frame, "the lazyfree batch of cpu", cpu)
        for cpu, changes in enumerate(self._mlocks):
            for frame, _ in changes:
                yield Reference(frame, "the mlock batch of cpu", cpu)
        for frame in self._booted:
            yield Reference(frame, "what ran before")

    def contradictions(self) -> Iterator[str]:
        """A page is on an LRU list or in a batch, not both, and in use."""
        in_use = self._pages.in_use
        for frame in sorted(frame for frame in self._on_lru if frame not in in_use):
            yield f"frame {frame} is on the LRU and free"
        for run in self._on_lru.runs:
            within = in_use.runs.within(run.start, run.end)
            if sum(part.end - part.start for part in within) < run.end - run.start:
                for frame in range(run.start, run.end):
                    if frame not in in_use:
                        yield f"frame {frame} is on the LRU and free"
        new = [[frame for frame, is_new in changes if is_new] for changes in self._mlocks]
        for frame in sorted(frame for frame in self._lazy if frame not in in_use):
            yield f"frame {frame} is lazyfree and free"
        for cpu, batch in (*enumerate(self._batches), *enumerate(self._lazyfrees), *enumerate(new)):
            for frame in batch:
                if frame in self._on_lru:
                    yield f"frame {frame} is on the LRU and in a batch of cpu {cpu}"
