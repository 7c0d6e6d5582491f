"""Races of processes that have come of one by fork, of cpus that switch between them, and of files."""

from __future__ import annotations

from typing import Any

from sim.mm import (
    READ,
    READ_WRITE,
    Exit,
    Fork,
    Ftruncate,
    Madvise,
    MmapFile,
    Mprotect,
    Munmap,
    Operation,
)
from sim.verify.explore.layout import UNTOUCHED, A, Layout, Threads, known, reads, seen, writes
from sim.verify.programs import OnFile, Onto

KNOWN: list[Threads] = [[[reads(A)]], [[], [reads(A)]]]
"""Two cpus know a page, one after the other."""
FORKED: list[Threads] = [*seen(2, A), [[Fork()]], *KNOWN]
"""A page of a parent and its child; two cpus of the parent know it."""
CHILD: list[Threads] = [[[], [], [Onto(1)]]]
"""The third cpu is in the child."""


def _mapped(*, shared: bool) -> list[Threads]:
    """Two pages of a file that has its pages in memory; two cpus."""
    unknown: Any = None
    return [[[OnFile(MmapFile(unknown, 2, 0, shared, A), 1)], []]]


def _cut(pages: int) -> Operation:
    unknown: Any = None
    return OnFile(Ftruncate(unknown, pages), 1)


OF_PROCESSES = (
    Layout(
        "fork-fault",
        "fork beside a first write",
        UNTOUCHED,
        [[Fork()], [writes(A)]],
        "forking",
    ),
    Layout(
        "fork-write",
        "fork beside writes to a page that it makes copy-on-write",
        seen(2, A),
        [[Fork()], [writes(A), writes(A)]],
        "forking",
    ),
    Layout(
        "fork-munmap",
        "fork beside munmap",
        seen(2, A),
        [[Fork()], [Munmap(A, 1)]],
        "forking",
    ),
    Layout(
        "cow-access-munmap",
        "a parent's write to a page that its child has, beside its reads, beside the child's munmap",
        [*FORKED, *CHILD],
        [[writes(A)], [reads(A), reads(A)], [Munmap(A, 1)]],
        "forking",
    ),
    Layout(
        "cow-access-exit",
        "a parent's write to a page that its child has, beside its reads, beside the child's exit",
        [*FORKED, *CHILD],
        [[writes(A)], [reads(A)], [Exit()]],
        "forking",
    ),
    Layout(
        "cow-cow",
        "parent and child both write to a page that they share, and read it",
        [*FORKED, *CHILD],
        [[writes(A), reads(A)], [], [writes(A), reads(A)]],
        "forking",
    ),
    Layout(
        "cow-mprotect",
        "a parent takes rights away and gives them back, and writes what its child reads",
        [*FORKED, *CHILD],
        [[Mprotect(A, 1, READ), Mprotect(A, 1, READ_WRITE), writes(A)], [], [reads(A), reads(A)]],
        "forking",
    ),
    Layout(
        "cow-cow-same",
        "two threads of a parent write to a page that its child has",
        FORKED,
        [[writes(A)], [writes(A), reads(A)]],
        "forking",
    ),
    Layout(
        "cow-munmap",
        "a write to a page that a child has, beside munmap",
        FORKED,
        [[writes(A)], [Munmap(A, 1)]],
        "forking",
    ),
    Layout(
        "switch-munmap",
        "a cpu switches to another process and back, beside munmap",
        FORKED,
        [[Onto(1), Onto(0), reads(A)], [Munmap(A, 1)]],
        "forking",
        pcid=True,
    ),
    Layout(
        "idle-switch",
        "a cpu that has idled while its process was flushed wakes for another process, and comes back",
        [*FORKED, [[], [Madvise(A, 1)]]],
        [[Onto(1), Onto(0), reads(A)], [writes(A)]],
        "forking",
        pcid=True,
    ),
    Layout(
        "switch-cow",
        "a cpu switches to another process and back, beside a write that copies a page that it knows",
        FORKED,
        [[Onto(1), reads(A), Onto(0), reads(A)], [writes(A)]],
        "forking",
        pcid=True,
    ),
    Layout(
        "switch-mprotect-asids",
        "the same beside mprotect, where a cpu keeps two address spaces",
        FORKED,
        [[Onto(1), writes(A), Onto(0), writes(A)], [Mprotect(A, 1, READ)]],
        "forking",
        pcid=True,
        kinds=("linux",),
        changes={"flush": {"asids": 2}},
    ),
    Layout(
        "swapped-cow",
        "a page is swapped out while parent and child have it; both read it, and the parent writes",
        [*seen(1, A), [[Madvise(A, 1, "pageout")]], [[Fork()]], *CHILD],
        [[reads(A), writes(A)], [], [reads(A), reads(A)]],
        "forking",
        swaps=True,
    ),
    Layout(
        "fork-of-read-only",
        "a page that may not be written when it is forked is made writable, written, and read by the child",
        [*seen(1, A), [[Mprotect(A, 1, READ), Fork()]], *CHILD],
        [[Mprotect(A, 1, READ_WRITE), writes(A)], [], [reads(A), reads(A)]],
        "forking",
    ),
)

OF_FILES = (
    Layout(
        "truncate-fault",
        "a file is cut off beside the first read of its page",
        _mapped(shared=True),
        [[_cut(0)], [reads(A)]],
    ),
    Layout(
        "truncate-write",
        "a file is cut off beside the first write to its page",
        _mapped(shared=True),
        [[_cut(0)], [writes(A)]],
    ),
    Layout(
        "truncate-private",
        "a file is cut off beside the first write to a private copy of its page",
        _mapped(shared=False),
        [[_cut(0)], [writes(A)]],
    ),
    Layout(
        "truncate-private-read",
        "a file is cut off beside the first read of its page by a private mapping",
        _mapped(shared=False),
        [[_cut(0)], [reads(A)]],
    ),
    Layout(
        "truncate-access",
        "a file is cut off beside accesses through a TLB that knows its page",
        [*_mapped(shared=True), *known(2, A)],
        [[_cut(0)], [reads(A), writes(A)]],
    ),
    Layout(
        "file-munmap-fault",
        "munmap of a file beside the first read of its page",
        _mapped(shared=True),
        [[Munmap(A, 1)], [reads(A)]],
    ),
)
