"""Linux: locks that are not taken, looks that are not taken again, and what other processes share."""

from __future__ import annotations

from sim.designs.linux import anon, copied_entries, fork, mprotect, munmap, tlb_batch, zap
from sim.designs.linux import exit as exiting
from sim.designs.linux.gather import Gather, tlb_finish_mmu
from sim.designs.linux.mm import LinuxMm
from sim.designs.linux.move_tables import _move_ptes
from sim.designs.linux.page_alloc import PageAllocator
from sim.designs.linux.space_locks import SpaceLocks
from sim.designs.linux.swap import SwapEntry
from sim.designs.linux.vfs.open_files import OpenFiles
from sim.designs.linux.vma_indexes.maple import MapleTree
from sim.designs.linux.vma_locks.refcount import RefcountVmaLock, VmRefcnt
from sim.designs.linux.vma_locks.rwsem import RwSemVmaLock
from sim.designs.linux.vma_locks.sequence import MmLockSeq
from sim.mm import SwapDevice, SwapSlots
from sim.verify.mutants.mutant import Edit, Mutant

REFCOUNTED = ("linux-6.15", "linux-6.16", "linux-6.17")
"""Kernels whose VMAs are locked by a reference count, and given out again at once."""
RACES = ("shared", "short histories", "forking", "apart")

MUTANTS = (
    # -- mmap_lock and VMA locks ----------------------------------------------------------------------------
    Mutant(
        "zap-without-the-table-lock",
        "munmap and madvise clear entries without the page-table lock",
        [
            Edit(zap._zap_table, "    yield from lock.acquire(cpu)\n", ""),
            Edit(zap._zap_table, "    yield from lock.release(cpu)\n", ""),
        ],
        scenarios=RACES,
    ),
    Mutant(
        "mmap-under-a-read-lock",
        "mmap takes mmap_lock for reading: 6.2 times as fast, and two may change the tree at a time",
        [
            Edit(SpaceLocks.lock_all, "self.mmap_lock.write_lock(cpu)", "self.mmap_lock.read_lock(cpu)"),
            Edit(SpaceLocks.unlock, "self.mmap_lock.write_unlock(cpu)", "self.mmap_lock.read_unlock(cpu)"),
            Edit(LinuxMm.write_downgrade, "    yield from self.locks.downgrade(cpu)\n", ""),
        ],
        scenarios=RACES,
    ),
    Mutant(
        "munmap-lets-the-lock-go-before-it-zaps",
        "instead of downgrading mmap_lock munmap releases it, and others map where it still clears",
        [
            Edit(
                SpaceLocks.downgrade,
                "self.mmap_lock.write_downgrade(cpu)",
                "self.mmap_lock.write_unlock(cpu)",
            ),
            Edit(
                munmap.unmap,
                "    if mm.switches.munmap_downgrade:\n        yield from mm.locks.unlock_read(cpu)\n",
                "    if mm.switches.munmap_downgrade:\n        pass\n",
            ),
        ],
        scenarios=RACES,
    ),
    Mutant(
        "munmap-downgrades-before-it-detaches",
        "mmap_lock is downgraded before the VMAs have left the tree: faults under it find them, behind the zap",
        [
            Edit(
                munmap.unmap,
                "    vmas = yield from _gather(mm, cpu, at, at + pages)\n"
                "    if isinstance(vmas, Errno):\n"
                "        return vmas\n"
                "    if not vmas:\n"
                "        yield from mm.write_unlock(cpu)\n"
                "        return None\n"
                "    if mm.switches.munmap_downgrade:\n"
                "        yield from mm.write_downgrade(cpu)\n",
                "    early = mm.switches.munmap_downgrade\n"
                "    if early:\n"
                "        yield from mm.write_downgrade(cpu)\n"
                "    vmas = yield from _gather(mm, cpu, at, at + pages)\n"
                "    if isinstance(vmas, Errno):\n"
                "        if early:\n"
                "            yield from mm.mmap_lock.read_unlock(cpu)\n"
                "            yield from mm.write_lock(cpu)\n"
                "        return vmas\n"
                "    if not vmas:\n"
                "        yield from (mm.mmap_lock.read_unlock(cpu) if early else mm.write_unlock(cpu))\n"
                "        return None\n",
            )
        ],
        scenarios=RACES,
        resembles="the reports against the downgrade in munmap (Linux dd2283f2605e)",
    ),
    Mutant(
        "writer-locks-no-vma",
        "a writer does not wait for the faults that have its VMA (rwsem of each VMA)",
        [
            Edit(
                RwSemVmaLock.start_write,
                "    seq = yield from self._mm.seq.read(cpu, LOCK_VMA)\n",
                "    return\n    seq = yield from self._mm.seq.read(cpu, LOCK_VMA)\n",
            )
        ],
        scenarios=RACES,
    ),
    Mutant(
        "writer-leaves-no-mark",
        "a writer waits for faults and leaves no mark: later ones of the same section come in (+96 % faults)",
        [Edit(RwSemVmaLock.start_write, "    self._mark = seq\n", "")],
        scenarios=RACES,
    ),
    Mutant(
        "reader-looks-once-at-the-mark",
        "a fault does not look again at the mark once it has the rwsem: a writer may have come and gone",
        [
            Edit(
                RwSemVmaLock.start_read,
                "    if self._mark == seq:  # a writer",
                "    if False:  # a writer",
            )
        ],
        scenarios=RACES,
        resembles="the comment on vma_start_read in include/linux/mm.h (5e31275cc997), which is about it",
    ),
    Mutant(
        "refcount-reader-looks-once-at-the-mark",
        "the same of the reference count",
        [
            Edit(
                RefcountVmaLock.start_read,
                "    if self._mark == seq:  # a writer",
                "    if False:  # a writer",
            )
        ],
        REFCOUNTED,
        scenarios=RACES,
    ),
    Mutant(
        "vma-reuse-unseen",
        "a fault that has its reference does not look whether the VMA is another one by now",
        [
            Edit(
                LinuxMm.lock_vma_under_rcu,
                "if vma.mm is self and not vma.detached and vma.start <= page < vma.end:",
                "if True:",
            )
        ],
        REFCOUNTED,
        scenarios=RACES,
        resembles="VMA reuse under SLAB_TYPESAFE_BY_RCU: 'mm: fix a UAF when vma->mm is freed after "
        "vma->vm_refcnt got dropped' (Linux 6.16)",
    ),
    Mutant(
        "refcount-writer-waits-for-nobody",
        "a writer announces itself and goes on, whoever has a reference",
        [
            Edit(
                VmRefcnt._exclude_readers,
                "return self.wait_for_readers(cpu, VMA_LOCK_OFFSET + 1)",
                "return iter(())",
            )
        ],
        REFCOUNTED,
        scenarios=RACES,
    ),
    Mutant(
        "refcount-last-reader-wakes-nobody",
        "the last reader before a writer does not wake it",
        [Edit(VmRefcnt._put, "if self.count in (VMA_LOCK_OFFSET, VMA_LOCK_OFFSET + 1):", "if False:")],
        REFCOUNTED,
        scenarios=RACES,
    ),
    Mutant(
        "refcount-reader-enters-beside-a-writer",
        "a reader's count may go beyond a writer's offset",
        [Edit(VmRefcnt._get, "return self._add(cpu, 1, VMA_REF_LIMIT)", "return self._add(cpu, 1)")],
        REFCOUNTED,
        scenarios=RACES,
    ),
    Mutant(
        "mprotect-locks-no-vma",
        "mprotect changes a VMA's rights while a fault has it",
        [Edit(mprotect._fixup, "    yield from part.lock.start_write(cpu)\n", "")],
        scenarios=RACES,
    ),
    Mutant(
        "munmap-locks-no-vma",
        "munmap detaches a VMA while a fault has it, whose page comes behind the zap",
        [Edit(munmap._gather, "        yield from vma.lock.start_write(cpu)\n", "")],
        scenarios=RACES,
    ),
    Mutant(
        "write-section-never-ends",
        "mm_lock_seq stays what it was: the VMAs of a section stay locked",
        [Edit(MmLockSeq.end, "    self.value += 1\n", "    self.value += 0\n")],
        scenarios=RACES,
        equivalent="faults take mmap_lock instead, which is slower and right",
    ),
    Mutant(
        "anon-vma-adopted-twice",
        "two first faults of a VMA both give it an anon_vma",
        [Edit(anon._anon_vma_prepare, "first = vma.anon_vma is None", "first = True")],
        scenarios=("shared", "forking"),
        equivalent="a VMA may be linked to two anon_vmas",
    ),
    # -- flushes --------------------------------------------------------------------------------------------
    Mutant(
        "gather-frees-before-the-flush",
        "pages are free before TLBs have been told",
        [
            Edit(
                Gather.flush,
                "    mm = self._mm\n    yield from self.flush_tlbs(cpu)\n",
                "    mm = self._mm\n    frames, self.frames = self.frames, []\n"
                "    if frames:\n        yield from mm.lru.release(cpu, frames)\n"
                "    yield from self.flush_tlbs(cpu)\n",
            )
        ],
        resembles="exmap (Leis et al., SIGMOD 2023), whose free pages reach the pool before the shootdown",
    ),
    Mutant(
        "nested-flush-ignored",
        "a flush does not look whether others have cleared entries and not flushed yet",
        [Edit(tlb_finish_mmu, "if mm.gathers > 1:", "if False:")],
        scenarios=("short histories", "shared"),
        resembles="'mm: fix MADV_[FREE|DONTNEED] TLB flush miss problem' (Linux 99baac21e458, 2017)",
    ),
    Mutant(
        "mremap-without-flush",
        "pages are moved, and TLBs have them at their old place",
        [Edit(_move_ptes, "    if found:\n", "    if False:\n")],
        resembles="CVE-2018-18281: mremap released its locks before the flush (Linux eb66ae030829)",
        scenarios=("alone", "processes"),
    ),
    Mutant(
        "reclaim-never-flushes",
        "entries that reclaim has cleared are not flushed before their pages are free",
        [
            Edit(
                tlb_batch.TlbBatch.flush,
                "    yield from flush_batch(self._machine, cpu, [mm.tlb for mm in pending])\n",
                "    return\n    yield\n",
            )
        ],
        ("linux-6.13-zram", "linux"),
        scenarios=("apart", "shared", "processes"),
    ),
    Mutant(
        "batched-flush-not-waited-for",
        "who works on entries does not flush what a reclaim has put off",
        [Edit(tlb_batch.flush_batched_pending, "if pending := mm.flush_pending:", "if pending := 0:")],
        ("linux-6.13-zram", "linux"),
        resembles="'mm, mprotect: flush TLB if potentially racing with a parallel reclaim' (Linux 3ea277194daa, 2017)",
        scenarios=("shared", "apart"),
    ),
    # -- fork and exit --------------------------------------------------------------------------------------
    Mutant(
        "fork-lets-the-parent-write",
        "a fork leaves the parent's pages writable",
        [Edit(copied_entries.copy_entries, "            entry.copy_on_write = True\n", "            pass\n")],
    ),
    Mutant(
        "fork-without-flush",
        "the parent's TLBs may still write what a fork has shared",
        [Edit(fork.fork, "    yield from mm.tlb.flush(cpu, range(0), whole=True)  # flush_tlb_mm\n", "")],
    ),
    Mutant(
        "cow-believes-to-be-alone",
        "a write takes a page that the child still maps",
        [Edit(anon._alone, "if mm.pages.in_use.owners(entry.frame) == 1:", "if True:")],
        resembles="CVE-2020-29374: the wrong side of a fork kept the page (get_user_pages and COW)",
    ),
    Mutant(
        "fork-misses-the-last-page",
        "a fork copies all pages of a table but one",
        [
            Edit(
                fork._copy_pages,
                "yield from _copy_table(mm, child, cpu, source, page, stop)",
                "yield from _copy_table(mm, child, cpu, source, page, stop - 1)",
            )
        ],
    ),
    Mutant(
        "fork-duplicates-all-but-one-vma",
        "one VMA of the duplicated tree stays the parent's",
        [
            Edit(
                MapleTree.replace,
                "    self._list(vma)\n",
                "    if len(list(self)) == 1:\n        return\n    self._list(vma)\n",
            )
        ],
    ),
    Mutant(
        "fork-lets-others-map-meanwhile",
        "a fork gives mmap_lock up while it copies",
        [
            Edit(
                fork.fork,
                "        yield from _dup_mmap(mm, child, cpu)\n",
                "        yield from mm.write_unlock(cpu)\n"
                "        yield from _dup_mmap(mm, child, cpu)\n"
                "        yield from mm.write_lock(cpu)\n",
            )
        ],
        scenarios=("forking",),
    ),
    Mutant(
        "exit-leaves-a-page",
        "the last page of each mapping is not freed at exit",
        [
            Edit(
                exiting.exit_mmap,
                "zap(mm, cpu, vma, vma.start, vma.end, gather)",
                "zap(mm, cpu, vma, vma.start, vma.end - 1, gather)",
            )
        ],
    ),
    Mutant(
        "exit-leaves-a-file-mapped",
        "a process that ends stays in the interval trees of its files",
        [Edit(munmap.unlink_files, "        if batch and (", "        if False and (")],
    ),
    Mutant(
        "exec-keeps-the-old-memory",
        "who executes a program does not give its old memory up",
        [Edit(fork.exec_, "    yield from mmput(mm, cpu)\n", "")],
    ),
    Mutant(
        "exec-takes-its-parents-memory-along",
        "a child of vfork that executes a program ends the memory that it has borrowed",
        [Edit(exiting.mmput, "if not mm.users:", "if True:")],
        scenarios=("family",),
    ),
    Mutant(
        "frame-list-aba",
        "a lock-free list of frames: who pops looks whether its head is the one that it has seen, not whether "
        "others have popped and pushed meanwhile",
        [
            Edit(
                PageAllocator._move,
                "        taken = zone.buddy.take(blocks, order)\n",
                "        taken = zone.buddy.take(blocks, order)\n"
                "        for each in reversed(taken):\n"
                "            zone.buddy.free(each, order)\n"
                "        yield from self._unlock(cpu, zone)\n"
                "        yield from self._lock(cpu, zone)\n"
                "        now = zone.buddy.take(blocks, order)\n"
                "        taken = taken if now[:1] == taken[:1] else now\n",
            )
        ],
        scenarios=("apart", "shared"),
        resembles="ABA in a Treiber stack of free frames",
    ),
    # -- swap, descriptors ----------------------------------------------------------------------------------
    Mutant(
        "page-mapped-before-it-is-read",
        "a page comes out of swap before the device has read it",
        [
            Edit(
                SwapDevice.read,
                "if self._drive is None:\n"
                "        return self._now(cpu, self._decompress, done)\n"
                "    return self._drive.read(cpu, done)",
                "probe, cpu.probe = cpu.probe, type(cpu.probe).__mro__[-2]()\n"
                "    done()\n"
                "    cpu.probe = probe\n"
                "    return iter(())",
            )
        ],
        ("linux-6.13-zram", "linux"),
    ),
    Mutant(
        "swapped-page-exclusive-after-fork",
        "who writes first to a page that was swapped out before a fork writes for both",
        [
            Edit(
                SwapEntry.of,
                "exclusive=exclusive",
                "exclusive=True",
            )
        ],
        ("linux-6.13-zram", "linux"),
        scenarios=("family", "forking"),
    ),
    Mutant(
        "swap-slot-not-counted-by-a-child",
        "a fork does not count its child as a user of a swap slot",
        [
            Edit(
                SwapSlots.count,
                "    self.users[slot] += change\n",
                "    self.users[slot] += 0 if change > 0 and self.users[slot] else change\n",
            )
        ],
        ("linux-6.13-zram", "linux"),
        scenarios=("family", "forking"),
    ),
    Mutant(
        "descriptor-never-given-back",
        "open that fails keeps its descriptor",
        [Edit(OpenFiles.give_back, "    del self._table[number]\n", "")],
        scenarios=("alone",),
    ),
)
