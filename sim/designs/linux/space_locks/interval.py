"""Interval VM: the process lock in four modes, and below its local ones the locks of intervals (SOSP 2025).

    a fault                  first without a lock (`IntervalNode.start_read`)
                             local R | lock of the page's node: tables, anon_vma
                             global R, for pages of the pool (in the paper: files on other file systems)
    mmap, munmap, mprotect   local W | locks of the range     else global W: no room is left in the arena
    all others               global

What is left of a munmap after its downgrade, where all of the space was locked, goes on under the same locks
here: the gap that its tables lie in belongs to a node that it holds.

brk, mremap and madvise have local modes in the artifact's kernel, too (CONFIG_FINE_LOCKING_*); here they are
global.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from sim.designs.linux.addresses import HIGHEST_PAGE
from sim.designs.linux.space_locks.base import SpaceLocks
from sim.designs.linux.space_locks.whole import LOCK_MMAP
from sim.designs.linux.vma_indexes import HeardIndex, IntervalSkipList
from sim.designs.linux.vma_locks.interval import IntervalNode
from sim.engine import Steps
from sim.hardware import Cpu, Task
from sim.sync import Lock, RwSem, ShardedRwSem

if TYPE_CHECKING:
    from sim.designs.linux.kernel import LinuxKernel
    from sim.designs.linux.mm import LinuxMm
    from sim.designs.linux.vma import Vma


class IntervalSpace(SpaceLocks):
    """The shards, and which of them threads have in a local mode, for *writing* or not."""

    __slots__ = ("_local", "_sharded")

    def __init__(self, mm: LinuxMm, kernel: LinuxKernel, cpu: Cpu) -> None:
        tuning, nodes = kernel.spec.rwsem, kernel.osq_nodes
        sharded = ShardedRwSem(kernel.machine, "mmap_lock", nodes, kernel.scheduler, LOCK_MMAP, tuning, cpu)
        super().__init__(mm, sharded, None)
        self._sharded = sharded
        self._local: dict[Task, tuple[RwSem, bool]] = {}

    @property
    def index(self) -> IntervalSkipList:
        tree = self._mm.tree
        if isinstance(tree, HeardIndex):
            tree = tree.inner
        assert isinstance(tree, IntervalSkipList)
        return tree

    # -- to change it ---------------------------------------------------------------------------------------

    def lock_range(self, cpu: Cpu, start: int, end: int) -> Steps[None]:
        yield from self._lock_local(cpu)
        yield from self.index.lock_range(cpu, start, end)

    def lock_to_map(self, cpu: Cpu, at: int | None, pages: int) -> Steps[None]:
        yield from self._lock_local(cpu)
        if at is not None:
            yield from self.index.lock_range(cpu, at, at + pages)

    def _lock_local(self, cpu: Cpu) -> Steps[None]:
        shard = self._sharded.own(cpu)
        yield from shard.write_lock(cpu)
        self._local[cpu.current] = shard, True

    def find_room(self, cpu: Cpu, pages: int) -> Steps[int | None]:
        local = self._local.get(cpu.current)
        if local is not None:
            found = yield from self.index.lock_room(cpu, pages)
            if found is not None:
                return found
            del self._local[cpu.current]
            yield from local[0].write_unlock(cpu)
            yield from self._sharded.write_lock(cpu)
        return (yield from self.index.empty_area(cpu, pages, self.index.base, HIGHEST_PAGE))

    @property
    def grows_down(self) -> bool:
        return False

    def unlock(self, cpu: Cpu) -> Steps[None]:
        if cpu.current in self._local:
            yield from self._unlock_local(cpu)
        else:
            yield from self._sharded.write_unlock(cpu)

    def downgrade(self, cpu: Cpu) -> Steps[None]:
        if cpu.current not in self._local:
            yield from self._sharded.write_downgrade(cpu)

    def unlock_read(self, cpu: Cpu) -> Steps[None]:
        if cpu.current in self._local:
            yield from self._unlock_local(cpu)
        else:
            yield from self._sharded.read_unlock(cpu)

    def _unlock_local(self, cpu: Cpu) -> Steps[None]:
        yield from self.index.unlock(cpu)
        shard, writing = self._local.pop(cpu.current)
        yield from shard.write_unlock(cpu) if writing else shard.read_unlock(cpu)

    # -- to fault in it -------------------------------------------------------------------------------------

    def begin_fault(self, cpu: Cpu, page: int) -> Steps[Vma | None]:
        shard = self._sharded.own(cpu)
        yield from shard.read_lock(cpu)
        self._local[cpu.current] = shard, False
        vma = yield from self.index.lock_page(cpu, page)
        if vma is None or not vma.hugetlb:
            return vma
        yield from self._unlock_local(cpu)
        yield from self._sharded.read_lock(cpu)
        return (yield from self.index.find(cpu, page))

    # -- what is checked ------------------------------------------------------------------------------------

    def stored_under(self, task: Task, vma: Vma) -> Sequence[Lock]:
        """The shard and the node, or in whose gap it comes; else all shards."""
        local = self._local.get(task)
        if local is None:
            return self._sharded.shards
        node = vma.lock
        assert isinstance(node, IntervalNode)
        return (local[0], (node if node.linked else self.index.before(vma.start)).mutex)
