"""A race: two or three threads, a few operations each, on one page or two that lie in two page tables.

It is a program; its last round is the race, what comes before sets it up.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sim.mm import Fork, Mmap, Operation, SwitchMm, Touch
from sim.verify.kernels import BASE, KINDS
from sim.verify.locks import LOCKS, SHARED, Turn
from sim.verify.machines import merged
from sim.verify.programs import InHeap, InLast, Mode, OnFile, Onto, Program, Reclaim
from sim.verify.swapping import ZRAM, corten_swap, swap
from sim.verify.variants import PCID, needed, offered, rules_of

A, B = BASE, BASE - 1
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
    swaps: bool = False
    """Whether it needs a device to swap to: verify's own designs get one."""
    pcid: bool = False
    """Whether TLBs keep the entries of several address spaces."""
    kinds: Sequence[str] | None = None
    """The designs that it is for, if it changes them; else all that offer its operations."""
    changes: Mapping[str, Any] = field(default_factory=dict)
    """To the design's file."""

    def suits(self, design: str) -> bool:
        """Whether *design* offers its operations, and what else it needs."""
        if design in LOCKS:
            turns = [each for its in self.race for each in its if isinstance(each, Turn)]
            return bool(turns) and (LOCKS[design] in SHARED or all(each.write for each in turns))
        if self.kinds is not None and design not in self.kinds:
            return False
        asked = {type(each) for each in self._operations()}
        if Turn in asked:
            return False
        if self.swaps and design not in KINDS and not rules_of(design).swaps:
            return False
        return asked | ({SwitchMm} if Fork in asked else set()) <= offered(design)

    def _operations(self) -> Iterator[Operation]:
        """All of them, without what is said around them."""
        for threads in (*self.before, self.race):
            for its in threads:
                for each in its:
                    if isinstance(each, InLast | OnFile | InHeap):
                        yield each.operation
                    elif not isinstance(each, Onto | Reclaim):
                        yield each

    def program(self, design: str) -> Program:
        """It on *design*, in the plain order."""
        machine: Mapping[str, Any] = {} if design in LOCKS else needed(design)
        if self.pcid and "tlb" not in machine:
            machine = {**machine, **PCID}
        changes = self.changes
        if self.swaps and design in KINDS:
            changes = merged(swap(ZRAM) if design == "linux" else corten_swap(), changes)
        rounds = [*self.before, self.race]
        return Program(design, self.mode, rounds, changes=changes, machine=machine, order=())


def writes(*pages: int) -> Touch:
    return Touch(list(pages))


def reads(*pages: int) -> Touch:
    return Touch(list(pages), write=False)


def seen(threads: int, *pages: int) -> Sequence[Threads]:
    """*pages* are mapped, and one thread after the other has written them: their TLBs know."""
    return [[[Mmap(1, page) for page in pages]], *known(threads, *pages)]


def known(threads: int, *pages: int) -> Sequence[Threads]:
    """One thread after the other has written *pages*."""
    return [[*([] for _ in range(each)), [writes(*pages)]] for each in range(threads)]


UNTOUCHED: Sequence[Threads] = [[[Mmap(1, A)]]]
