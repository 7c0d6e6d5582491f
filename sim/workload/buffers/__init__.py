"""vmcache: a buffer manager in user space whose page table is that of the process.

states      a word a page: unlocked, locked, marked, evicted, and a version
resident    the table of pages in memory, and the clock that goes round it
manager     bring pages in, evict them
tree        look-ups in a tree of such pages, without locks
"""

from sim.workload.buffers.tree import Buffers

__all__ = ["Buffers"]
