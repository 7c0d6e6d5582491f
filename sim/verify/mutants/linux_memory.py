"""Linux: what is in pages, what may be done with them, which pages an operation is about."""

from __future__ import annotations

from sim.designs.linux import (
    anon,
    fault,
    file_fault,
    fork,
    huge_fault,
    large_folio,
    madvise,
    maps,
    mprotect,
    munmap,
    tables,
    truncate,
    userfault,
)
from sim.designs.linux.gather import Gather
from sim.designs.linux.mm import LinuxMm
from sim.designs.linux.modify import change_file_mappings
from sim.mm import Fork, Mmap, Munmap, Prepopulate, Present, PresentRun, Touch, UffdCopy, UffdRegister
from sim.verify.kernels import BASE, LEAF
from sim.verify.mutants.mutant import Edit, Mutant
from sim.verify.programs import Mode, Program

IN_BULK = [[Mmap(LEAF, BASE)], [Prepopulate(BASE, LEAF)], [Touch(range(BASE, BASE + 20))]]


def in_bulk(mode: Mode, *rounds: list[list[object]]) -> Program:
    """Whole tables are rare in short programs, so these are written down."""
    return Program("linux", mode, [*([each, []] for each in IN_BULK), *rounds])  # type: ignore[list-item]


def alone(*operations: object) -> Program:
    return Program("linux", "alone", [[operations]])  # type: ignore[list-item]


MUTANTS = (
    Mutant(
        "zero-page-writable",
        "the hardware lets a write through to a page that is to be copied first, such as that of zeros",
        [Edit(Present.writable, " and not self.copy_on_write", "")],
    ),
    Mutant(
        "page-not-zeroed",
        "a new page is given to a process with what was in it before",
        [Edit(LinuxMm._zeroed, "cpu.probe.frame_filled(cpu, frame, None)", "pass")],
    ),
    Mutant(
        "cow-without-copy",
        "a write to a page that others have makes it writable in place",
        [
            Edit(
                anon._copy,
                '    """wp_page_copy."""\n',
                "    table.set(slot_of(page, 1), Present(old.frame, vma.rights))\n    return True\n",
            )
        ],
        resembles="Dirty COW, CVE-2016-5195: a write reached the page that was to be copied",
    ),
    Mutant(
        "cow-without-flush",
        "the old page is replaced by its copy, and TLBs still have it",
        [
            Edit(
                anon._copy,
                "    yield from mm.tlb.flush(cpu, range(page, page + 1))  # ptep_clear_flush\n",
                "",
            )
        ],
    ),
    Mutant(
        "cow-takes-a-changed-entry",
        "the copy is mapped without a second look whether the entry is still the one that was copied",
        [Edit(anon._copy, "if not valid or table.get(slot) is not old:", "if False:")],
        scenarios=("shared", "forking"),
    ),
    Mutant(
        "first-touch-without-second-look",
        "two threads that touch a page first both map theirs: the second one's replaces the first",
        [Edit(anon._map, "table.get(slot) is None", "True")],
        scenarios=("shared", "forking"),
    ),
    Mutant(
        "fault-asks-no-vma",
        "a fault does not look at what the VMA allows",
        [Edit(fault._access_error, "if vma.rights & (WRITE if write else READ):", "if True:")],
    ),
    Mutant(
        "dirty-bit-lost",
        "a change of rights forgets that the page is dirty",
        [Edit(Present.with_rights, "rights=rights", "rights=rights, dirty=False")],
        ("linux", "rw", "adv"),
    ),
    Mutant(
        "bulk-zap-without-flush",
        "a run of pages is cleared in one step, and its range is not put down for the flush",
        [
            Edit(
                Gather.cleared_run,
                "    self.changed(page)\n    self.changed(page + len(frames) - 1)\n",
                "",
            )
        ],
        programs=[in_bulk("shared", [[], [Munmap(BASE, LEAF - 1)]])],
    ),
    Mutant(
        "bulk-zap-overlooks-a-changed-entry",
        "a run of pages is freed as it was filled, though some have been copied since",
        [Edit(PresentRun.frames, "        if entry is SAID:\n            continue\n", "        continue\n")],
        programs=[
            in_bulk(
                "family",
                [[Fork()], []],
                [[Touch(range(BASE, BASE + 3))], []],
                [[Munmap(BASE, LEAF)], []],
            )
        ],
    ),
    Mutant(
        "mprotect-misses-a-leaf",
        "mprotect ends with the first page table of its range",
        [
            Edit(
                mprotect._change_protection,
                "    page = start\n",
                "    page, end = start, min(end, start - start % SLOTS + SLOTS)\n",
            )
        ],
        scenarios=("alone", "apart"),
    ),
    Mutant(
        "process-madvise-forgets-to-flush",
        "what a vector of advice has cleared stays in a gather that nobody ends",
        [
            Edit(
                madvise.Section.end,
                "yield from tlb_finish_mmu(mm, cpu, self._gather)",
                "mm.gathers -= 1",
            )
        ],
    ),
    Mutant(
        "maps-skips-a-vma",
        "a reader of /proc/PID/maps goes on one VMA too far at the end of a page of lines",
        [
            Edit(
                maps._fill_under_mmap_lock,
                "    left = mm.kernel.spec.limits.maps_lines\n",
                "    behind = mm.tree.peek(at) if at else None\n"
                "    at = behind.end if behind else at\n"
                "    left = mm.kernel.spec.limits.maps_lines\n",
            )
        ],
        scenarios=("alone", "processes"),
    ),
    Mutant(
        "madvise-skips-the-last-page",
        "MADV_DONTNEED ends one page too early",
        [
            Edit(
                madvise._dontneed,
                "_dontneed_locked(mm, cpu, vma, start, end, gather)",
                "_dontneed_locked(mm, cpu, vma, start, end - 1, gather)",
            )
        ],
    ),
    Mutant(
        "tables-freed-with-a-neighbour-inside",
        "munmap frees tables to the next multiples of 2 MiB, whoever has mappings there",
        [
            Edit(
                tables.hole_around,
                "    return mm.tree.hole(start, end, PAGES_PER_ENTRY[mm.root.level + 1])\n",
                "    return start - start % 512, end + -end % 512\n",
            )
        ],
    ),
    Mutant(
        "tables-stay",
        "page tables are never freed",
        [Edit(tables.free_pgtables, "    yield from _free_below", "    return\n    yield from _free_below")],
    ),
    Mutant(
        "table-linked-over-another",
        "two threads that lack the same table both link theirs: what is below the first is lost",
        [Edit(tables._make_table, "if there and parent.get(slot) is None:", "if there:")],
        scenarios=("apart", "shared"),
    ),
    Mutant(
        "may-split-off-by-one",
        "a process may have one VMA more than max_map_count",
        [Edit(LinuxMm.may_split, "count < self", "count <= self")],
        scenarios=("alone", "processes"),
    ),
    Mutant(
        "huge-split-mixes-up-frames",
        "each page of a huge one is said to be its first",
        [
            Edit(
                Present.frame_of,
                "return self.frame if self.level == 1 or self.frame < 0 else self.frame + page % self.pages",
                "return self.frame",
            )
        ],
        huge=True,
    ),
    Mutant(
        "large-folio-one-owner",
        "a folio has one owner, however many entries map its pages",
        [Edit(large_folio.map_folio, "mm.pages.in_use.get(head, pages - 1)", "pass")],
        huge=True,
    ),
    Mutant(
        "large-folio-not-looked-at-again",
        "a folio is mapped over what another fault has brought in meanwhile",
        [
            Edit(
                large_folio.map_folio,
                "free = all(table.get(slot) is None for slot in range(first, first + pages))",
                "free = True",
            )
        ],
        huge=True,
    ),
    Mutant(
        "huge-zap-without-flush",
        "the entry of a huge page is cleared or changed, and TLBs still have it",
        [Edit(Gather.changed_huge, "    self._huge = True\n", "    return\n")],
        huge=True,
    ),
    Mutant(
        "huge-cow-without-copy",
        "a huge page that a fork has shared becomes writable in place",
        [
            Edit(
                huge_fault._write_protected,
                "alone = not entry.special and mm.pages.in_use.refcount[entry.frame] == 1",
                "alone = not entry.special",
            )
        ],
        huge=True,
        resembles="CVE-2020-29368: a race in copy-on-write of a huge page, which then was written in place",
    ),
    Mutant(
        "private-write-reaches-the-file",
        "a private mapping of a cached page is writable at once",
        [Edit(file_fault._set_entry, "copy_on_write=not vma.area.shared", "copy_on_write=False")],
        resembles="Dirty Pipe, CVE-2022-0847: a write that had to stay private reached the page cache",
    ),
    Mutant(
        "copy-of-something-else",
        "a private copy begins with zeros",
        [
            Edit(
                LinuxMm.copy_into,
                "cpu.probe.frame_filled(cpu, frame, source)",
                "cpu.probe.frame_filled(cpu, frame, None)",
            )
        ],
    ),
    Mutant(
        "truncate-leaves-pages-mapped",
        "a file is cut off, and what is mapped of its end stays mapped",
        [
            Edit(
                truncate._unmap_behind,
                "    yield from inode.i_mmap_rwsem.read_lock(cpu)\n",
                "    return\n    yield from inode.i_mmap_rwsem.read_lock(cpu)\n",
            )
        ],
        scenarios=("alone", "apart", "processes"),
    ),
    Mutant(
        "file-forgets-who-maps-it",
        "a new mapping of a file is not put into its interval tree",
        [Edit(change_file_mappings, "if vma.area.file is not None:", "if False:")],
    ),
    Mutant(
        "shared-memory-outlives-its-mappings",
        "memory without a name stays when its last mapping goes",
        [Edit(munmap.remove_vma, "        yield from let_go(mm.kernel, cpu, inode)\n", "")],
    ),
    Mutant(
        "fault-behind-the-end-of-a-file",
        "a fault does not look again at the size of the file once it has the page",
        [
            Edit(
                file_fault._locked_page,
                "        if index < inode.pages:\n            return frame\n",
                "        return frame\n",
            )
        ],
        scenarios=("shared", "forking", "apart"),
    ),
    Mutant(
        "fork-inherits-locked-memory",
        "a child's memory is locked as its parent's is",
        [Edit(fork._dup_mmap, "vma.area.flags & ~_NOT_INHERITED", "vma.area.flags")],
    ),
    Mutant(
        "userfault-answered-without-bytes",
        "UFFDIO_COPY maps a page of zeros",
        [
            Edit(
                userfault._copy,
                "yield from mm.copy_into(cpu, frame, entry.frame_of(source))",
                "cpu.probe.frame_filled(cpu, frame, None)",
            )
        ],
        programs=[
            alone(
                Mmap(2, BASE),
                Touch([BASE]),
                UffdRegister(BASE + 1, 1),
                UffdCopy(BASE + 1, BASE),
                Touch([BASE + 1], write=False),
            )
        ],
    ),
    Mutant(
        "userfault-overwrites-a-page",
        "UFFDIO_COPY over a page that is there: what was written is lost",
        [
            Edit(
                userfault._install,
                "table is None or lock is None or table.get(slot) is not None",
                "table is None or lock is None",
            )
        ],
        programs=[
            alone(Mmap(2, BASE), Touch([BASE, BASE + 1]), UffdRegister(BASE + 1, 1), UffdCopy(BASE + 1, BASE))
        ],
    ),
)
