"""Programs: what some threads ask of one process, written down so that it can be run again.

A program is data: the kernel, the schedule with its seed, and in each round a list of operations a thread.
Between rounds all threads rest. `drawing` draws them.

    alone      one thread; everything is determined, limits are near
    apart      each thread has pages of its own; they share tables, VMAs and allocators
    shared     all threads work on the same few pages
    processes  one thread in each of several processes, one of them at a time; they share files
    family     one thread at a time, on any cpu, in any of the processes that have come of one by fork; or
               several, each in a process of its own, where they share nothing else; a cpu that none is left
               for takes the next child that is forked, at once
    forking    as shared or apart, and threads fork meanwhile
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from sim.engine import InjectedDelays, Schedule, ScheduleName
from sim.engine.schedule import KINDS as KINDS_OF_SCHEDULES
from sim.mm import (
    Mmap,
    Operation,
)
from sim.verify.kernels import BASE, LEAF

Mode = Literal["alone", "apart", "shared", "processes", "family", "forking"]
DETERMINED: frozenset[Mode] = frozenset({"alone", "processes", "family"})
"""One thread of a process runs at a time: all that is not the kernel's choice has one right outcome."""
RACING: frozenset[Mode] = frozenset({"shared", "forking"})
"""What is right is a set."""


@dataclass(frozen=True, slots=True)
class InLast(Operation):
    """*operation* on the thread's last mapping without an address, counting from its first page."""

    name = "in last"
    operation: Any


@dataclass(frozen=True, slots=True)
class OnFile(Operation):
    """*operation* on file *number* of those that are created before the program begins."""

    name = "on file"
    operation: Any
    number: int


@dataclass(frozen=True, slots=True)
class InHeap(Operation):
    """*operation* counts from the beginning of the heap."""

    name = "in heap"
    operation: Any


@dataclass(frozen=True, slots=True)
class Onto(Operation):
    """The cpu goes on in process *number* of those that have not ended."""

    name = "onto"
    number: int


@dataclass(frozen=True, slots=True)
class Reclaim(Operation):
    """The thread takes pages away, whoever has them, as if it had found no memory. Nothing without swap."""

    name = "reclaim"


LONGEST_DELAY = 3_000_000
"""Of an injected delay (ps): about as long as an operation."""
FILE_PAGES = 5
"""How long files are at first. Every other one is in the page cache as a whole."""


@dataclass(frozen=True)
class Program:
    """*rounds* has the rounds, each of them a list of operations a thread.

    *changes* are to the design's file and *machine* to the machine's.
    """

    kind: str
    mode: Mode
    rounds: Sequence[Sequence[Sequence[Operation]]]
    ties: ScheduleName = "fifo"
    seed: int = 0
    changes: Mapping[str, Any] = field(default_factory=dict)
    machine: Mapping[str, Any] = field(default_factory=dict)
    delays: float = 0.0
    """The chance that a step of a thread is delayed, by up to `LONGEST_DELAY`."""
    order: Sequence[tuple[int, str]] | None = None
    """Of a race, the last round (`sim.verify.explore`): at which decisions somebody goes on whose turn it is
    not in the plain order, and who. None: the clock and *ties* say who is next."""

    @property
    def schedule(self) -> Schedule | ScheduleName:
        """The rule of simultaneous events, with delays if there are any."""
        if not self.delays:
            return self.ties
        return InjectedDelays(KINDS_OF_SCHEDULES[self.ties], self.delays, LONGEST_DELAY)

    @property
    def threads(self) -> int:
        return max((len(threads) for threads in self.rounds), default=1)

    def __str__(self) -> str:
        lines = [
            f"check(Program({self.kind!r}, {self.mode!r}, ties={self.ties!r}, seed={self.seed},",
            f"    changes={dict(self.changes)!r},",
            f"    machine={dict(self.machine)!r},{f' delays={self.delays},' if self.delays else ''}",
            *([] if self.order is None else [f"    order={tuple(self.order)!r},"]),
            "    rounds=[",
        ]
        for threads in self.rounds:
            lines.append("        [")
            for operations in threads:
                lines.append("            [")
                lines += [f"                {operation!r}," for operation in operations]
                lines.append("            ],")
            lines.append("        ],")
        return "\n".join([*lines, "    ],", "))"])


ANCHORS = (Mmap(1, BASE // 2), Mmap(1, BASE + 4 * LEAF))
"""So that mappings without an address stay clear of all parts, in every design."""
