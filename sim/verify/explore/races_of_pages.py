"""Races on the pages of one process."""

from __future__ import annotations

from collections.abc import Sequence

from sim.mm import READ, Madvise, Mmap, Mprotect, Mremap, Munmap
from sim.verify.explore.layout import UNTOUCHED, A, B, Layout, Threads, reads, seen, writes
from sim.verify.kernels import BASE, LEAF
from sim.verify.programs import InLast, Reclaim

ELSEWHERE = A + 64
"""Where nothing is."""
FAR = A + 16
"""In the same table, and in another mapping."""
OLD: Sequence[Threads] = [[[Mmap(1, FAR), writes(FAR), Munmap(FAR, 1)]], [[Reclaim()]]]
"""All pages are on the lists of reclaim, which has looked at them once: it takes them the next time."""
HUGE = {"huge_pages": {"thp": "always", "use_zero_page": False, "pool": 0}}

OF_PAGES = (
    Layout(
        "munmap-fault",
        "munmap beside the first write to the same page",
        UNTOUCHED,
        [[Munmap(A, 1)], [writes(A)]],
    ),
    Layout(
        "munmap-access",
        "munmap beside accesses through a TLB that knows the page",
        seen(2, A),
        [[Munmap(A, 1)], [reads(A), writes(A)]],
    ),
    Layout(
        "munmap-munmap",
        "two munmaps whose ranges overlap",
        seen(2, B, A),
        [[Munmap(B, 2)], [Munmap(A, 1)]],
    ),
    Layout(
        "mprotect-write",
        "mprotect to read-only beside writes",
        seen(2, A),
        [[Mprotect(A, 1, READ)], [writes(A), writes(A)]],
    ),
    Layout(
        "mprotect-fault",
        "mprotect to read-only beside the first write",
        UNTOUCHED,
        [[Mprotect(A, 1, READ)], [writes(A)]],
    ),
    Layout(
        "mmap-mmap",
        "two mmaps of the same range at a fixed place, and writes to it",
        [],
        [[Mmap(1, A), writes(A)], [Mmap(2, B), writes(A)]],
    ),
    Layout(
        "mmap-access",
        "a new mapping over one that another thread uses",
        seen(2, A),
        [[Mmap(1, A), reads(A)], [writes(A), reads(A)]],
    ),
    Layout(
        "fault-fault",
        "two first writes to a page whose table is missing",
        UNTOUCHED,
        [[writes(A)], [writes(A)]],
    ),
    Layout(
        "read-write-fault",
        "a first read beside a first write: the page of zeros, and one to write to",
        UNTOUCHED,
        [[reads(A)], [writes(A), reads(A)]],
    ),
    Layout(
        "fault-beside-fault",
        "first writes to two pages whose tables are missing",
        [[[Mmap(2, B)]]],
        [[writes(A)], [writes(B)]],
    ),
    Layout(
        "madvise-access",
        "MADV_DONTNEED beside accesses to the page",
        seen(2, A),
        [[Madvise(A, 1)], [reads(A), writes(A)]],
    ),
    Layout(
        "munmap-walk",
        "the last page of a table is unmapped while a neighbour's fault walks through that table",
        [*seen(1, A), [[Mmap(1, A + 1)]]],
        [[Munmap(A, 1)], [writes(A + 1)]],
    ),
    Layout(
        "munmap-mmap-access",
        "munmap, mmap and a write beside reads: another page comes to the same place",
        seen(2, A),
        [[Munmap(A, 1), Mmap(1, A), writes(A)], [reads(A), reads(A)]],
    ),
    Layout(
        "munmap-mmap-elsewhere",
        "munmap and another mmap, which may take over the structures, beside a first write",
        UNTOUCHED,
        [[Munmap(A, 1), Mmap(1, A + 16)], [writes(A)]],
    ),
    Layout(
        "munmap-fault-fault",
        "munmap beside two first writes",
        UNTOUCHED,
        [[Munmap(A, 1)], [writes(A)], [writes(A)]],
    ),
    Layout(
        "munmap-mprotect-write",
        "munmap beside mprotect beside a write",
        seen(3, A),
        [[Munmap(A, 1)], [Mprotect(A, 1, READ)], [writes(A)]],
    ),
    Layout(
        "madvise-madvise-access",
        "two MADV_DONTNEEDs of one page beside an access",
        seen(3, A),
        [[Madvise(A, 1)], [Madvise(A, 1)], [reads(A)]],
    ),
    Layout(
        "mremap-fault",
        "mremap to another place beside the first write to the same page",
        UNTOUCHED,
        [[Mremap(A, 1, 1, True, ELSEWHERE)], [writes(A)]],
    ),
    Layout(
        "mremap-access",
        "mremap to another place beside accesses through a TLB that knows the page",
        seen(2, A),
        [[Mremap(A, 1, 1, True, ELSEWHERE)], [reads(A), writes(A)]],
    ),
    Layout(
        "mremap-munmap",
        "mremap to another place beside munmap",
        seen(2, A),
        [[Mremap(A, 1, 1, True, ELSEWHERE)], [Munmap(A, 1)]],
    ),
    Layout(
        "pageout-write",
        "a page is swapped out beside a write to it",
        seen(2, A),
        [[Madvise(A, 1, "pageout")], [writes(A)]],
        swaps=True,
    ),
    Layout(
        "reclaim-mprotect-write",
        "reclaim takes a page away, beside mprotect, beside writes through a TLB",
        [*seen(3, A), *OLD],
        [[Reclaim()], [Mprotect(A, 1, READ)], [writes(A)]],
        swaps=True,
    ),
    Layout(
        "reclaim-madvise-read",
        "reclaim takes a page away, beside MADV_DONTNEED, beside reads through a TLB",
        [*seen(3, A), *OLD],
        [[Reclaim()], [Madvise(A, 1)], [reads(A)]],
        swaps=True,
    ),
    Layout(
        "reclaim-madvise",
        "reclaim takes a page away, beside MADV_DONTNEED and a read of it",
        [*seen(2, A), *OLD],
        [[Reclaim()], [Madvise(A, 1), reads(A)]],
        swaps=True,
    ),
    Layout(
        "swapped-read-read",
        "two reads of a page that is swapped out",
        [*seen(2, A), [[Madvise(A, 1, "pageout")]]],
        [[reads(A), writes(A)], [reads(A)]],
        swaps=True,
    ),
    Layout(
        "swapped-read-munmap",
        "a read of a page that is swapped out beside munmap",
        [*seen(1, A), [[Madvise(A, 1, "pageout")]]],
        [[Munmap(A, 1)], [reads(A)]],
        swaps=True,
    ),
    Layout(
        "mmap-mmap-anywhere",
        "two mmaps without an address, and writes there",
        [],
        [[Mmap(1), InLast(writes(0))], [Mmap(1), InLast(writes(0))]],
        "apart",
    ),
    Layout(
        "mmap-mmap-global",
        "three mmaps without an address, where all cpus take addresses from one allocator",
        [],
        [[Mmap(3), InLast(writes(1))], [Mmap(1)], [Mmap(1), InLast(writes(0))]],
        "apart",
        kinds=("rw", "adv"),
        changes={"va_allocator": "global"},
    ),
    Layout(
        "frames-frames",
        "a cpu refills its list of free frames while another takes frames and gives one back",
        [[[Mmap(1, A), Mmap(3, FAR)]], [[], [writes(FAR)]]],
        [[writes(A)], [writes(FAR + 1, FAR + 2), Munmap(FAR + 1, 1)]],
        kinds=("linux",),
        changes={"limits": {"pcp_batch": 4, "pcp_high": 2}},
    ),
    Layout(
        "latr-ring",
        "more lazy flushes than a cpu has records, beside reads of what they are about",
        seen(2, A, B),
        [[Munmap(A, 1), Munmap(B, 1)], [reads(A), reads(B)]],
        kinds=("rw", "adv"),
        changes={"limits": {"latr_slots": 1}},
    ),
    Layout(
        "huge-fault-munmap",
        "the first write to a huge page beside munmap of a part of it",
        [[[Mmap(LEAF, BASE)]]],
        [[Munmap(BASE, 1)], [writes(BASE + 1)]],
        kinds=("linux",),
        changes=HUGE,
    ),
    Layout(
        "huge-split-access",
        "a huge page is split by mprotect of a part, beside accesses through a TLB that knows it",
        [[[Mmap(LEAF, BASE)]], [[writes(BASE)]], [[], [writes(BASE)]]],
        [[Mprotect(BASE, 1, READ)], [writes(BASE, BASE + 1)]],
        kinds=("linux",),
        changes=HUGE,
    ),
)
