"""The races: two or three threads, a few operations each, on one page or two that lie in two page tables.

Each is a program; its last round is the race, what comes before sets it up.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sim.mm import READ, Fork, Madvise, Mmap, Mprotect, Munmap, Operation, SwitchMm, Touch
from sim.verify.kernels import BASE
from sim.verify.locks import LOCKS, SHARED, Turn
from sim.verify.programs import Mode, Program
from sim.verify.variants import needed, offered

_A, _B = BASE, BASE - 1
"""Two pages that are neighbours, in two page tables."""

Threads = Sequence[Sequence[Operation]]


@dataclass(frozen=True)
class Layout:
    """A race, by *name*; *title* says it in a line."""

    name: str
    title: str
    before: Sequence[Threads]
    race: Threads
    mode: Mode = "shared"

    def suits(self, design: str) -> bool:
        """Whether *design* offers its operations."""
        if design in LOCKS:
            turns = [each for its in self.race for each in its if isinstance(each, Turn)]
            return bool(turns) and (LOCKS[design] in SHARED or all(each.write for each in turns))
        asked = {type(each) for threads in (*self.before, self.race) for its in threads for each in its}
        if Turn in asked:
            return False
        return asked | ({SwitchMm} if Fork in asked else set()) <= offered(design)

    def program(self, design: str) -> Program:
        """It on *design*, in the plain order."""
        machine: Mapping[str, object] = {} if design in LOCKS else needed(design)
        return Program(design, self.mode, [*self.before, self.race], machine=machine, order=())


def _writes(*pages: int) -> Touch:
    return Touch(list(pages))


def _reads(*pages: int) -> Touch:
    return Touch(list(pages), write=False)


def _seen(threads: int, *pages: int) -> Sequence[Threads]:
    """*pages* are mapped, and one thread after the other has written them: their TLBs know."""
    turns: list[Threads] = [[*([] for _ in range(each)), [_writes(*pages)]] for each in range(threads)]
    return [[[Mmap(1, page) for page in pages]], *turns]


_WRITER, _READER = Turn(1_000, True, 1_000), Turn(1_000, False, 1_000)
_DOWNGRADER = Turn(1_000, True, 1_000, downgrades=True)
_UNTOUCHED = [[[Mmap(1, _A)]]]

_OF_PAGES = (
    Layout(
        "munmap-fault",
        "munmap beside the first write to the same page",
        _UNTOUCHED,
        [[Munmap(_A, 1)], [_writes(_A)]],
    ),
    Layout(
        "munmap-access",
        "munmap beside accesses through a TLB that knows the page",
        _seen(2, _A),
        [[Munmap(_A, 1)], [_reads(_A), _writes(_A)]],
    ),
    Layout(
        "munmap-munmap",
        "two munmaps whose ranges overlap",
        _seen(2, _B, _A),
        [[Munmap(_B, 2)], [Munmap(_A, 1)]],
    ),
    Layout(
        "mprotect-write",
        "mprotect to read-only beside writes",
        _seen(2, _A),
        [[Mprotect(_A, 1, READ)], [_writes(_A), _writes(_A)]],
    ),
    Layout(
        "mprotect-fault",
        "mprotect to read-only beside the first write",
        _UNTOUCHED,
        [[Mprotect(_A, 1, READ)], [_writes(_A)]],
    ),
    Layout(
        "mmap-mmap",
        "two mmaps of the same range at a fixed place, and writes to it",
        [],
        [[Mmap(1, _A), _writes(_A)], [Mmap(2, _B), _writes(_A)]],
    ),
    Layout(
        "mmap-access",
        "a new mapping over one that another thread uses",
        _seen(2, _A),
        [[Mmap(1, _A), _reads(_A)], [_writes(_A), _reads(_A)]],
    ),
    Layout(
        "fault-fault",
        "two first writes to a page whose table is missing",
        _UNTOUCHED,
        [[_writes(_A)], [_writes(_A)]],
    ),
    Layout(
        "read-write-fault",
        "a first read beside a first write: the page of zeros, and one to write to",
        _UNTOUCHED,
        [[_reads(_A)], [_writes(_A), _reads(_A)]],
    ),
    Layout(
        "fault-beside-fault",
        "first writes to two pages whose tables are missing",
        [[[Mmap(2, _B)]]],
        [[_writes(_A)], [_writes(_B)]],
    ),
    Layout(
        "madvise-access",
        "MADV_DONTNEED beside accesses to the page",
        _seen(2, _A),
        [[Madvise(_A, 1)], [_reads(_A), _writes(_A)]],
    ),
    Layout(
        "munmap-walk",
        "the last page of a table is unmapped while a neighbour's fault walks through that table",
        [*_seen(1, _A), [[Mmap(1, _A + 1)]]],
        [[Munmap(_A, 1)], [_writes(_A + 1)]],
    ),
    Layout(
        "munmap-mmap-access",
        "munmap, mmap and a write beside reads: another page comes to the same place",
        _seen(2, _A),
        [[Munmap(_A, 1), Mmap(1, _A), _writes(_A)], [_reads(_A), _reads(_A)]],
    ),
    Layout(
        "munmap-mmap-elsewhere",
        "munmap and another mmap, which may take over the structures, beside a first write",
        _UNTOUCHED,
        [[Munmap(_A, 1), Mmap(1, _A + 16)], [_writes(_A)]],
    ),
    Layout(
        "munmap-fault-fault",
        "munmap beside two first writes",
        _UNTOUCHED,
        [[Munmap(_A, 1)], [_writes(_A)], [_writes(_A)]],
    ),
    Layout(
        "munmap-mprotect-write",
        "munmap beside mprotect beside a write",
        _seen(3, _A),
        [[Munmap(_A, 1)], [Mprotect(_A, 1, READ)], [_writes(_A)]],
    ),
    Layout(
        "madvise-madvise-access",
        "two MADV_DONTNEEDs of one page beside an access",
        _seen(3, _A),
        [[Madvise(_A, 1)], [Madvise(_A, 1)], [_reads(_A)]],
    ),
    Layout(
        "fork-fault",
        "fork beside a first write",
        _UNTOUCHED,
        [[Fork()], [_writes(_A)]],
        "forking",
    ),
    Layout(
        "fork-write",
        "fork beside writes to a page that it makes copy-on-write",
        _seen(2, _A),
        [[Fork()], [_writes(_A), _writes(_A)]],
        "forking",
    ),
    Layout(
        "fork-munmap",
        "fork beside munmap",
        _seen(2, _A),
        [[Fork()], [Munmap(_A, 1)]],
        "forking",
    ),
)

_OF_LOCKS = (
    Layout("two-writers", "two writers, twice each", [], [[_WRITER] * 2, [_WRITER] * 2]),
    Layout("three-writers", "three writers", [], [[_WRITER], [_WRITER], [_WRITER]]),
    Layout("writer-reader", "a writer beside a reader, twice each", [], [[_WRITER] * 2, [_READER] * 2]),
    Layout("reader-writer-reader", "a writer beside two readers", [], [[_READER], [_WRITER], [_READER]]),
    Layout(
        "downgrade",
        "a writer that downgrades beside a writer and a reader",
        [],
        [[_DOWNGRADER], [_WRITER], [_READER]],
    ),
)

LAYOUTS: Mapping[str, Layout] = {each.name: each for each in (*_OF_PAGES, *_OF_LOCKS)}
"""All races by name."""


def layouts_of(design: str) -> list[Layout]:
    """The races that *design* can be asked."""
    return [each for each in LAYOUTS.values() if each.suits(design)]
