"""The log of operations: a ring into which combiners append, and which every replica replays (log.rs).

    head    the first entry that some replica may still need: the least of all local tails, as last looked up
    ltail   of each replica: what it has replayed
    ctail   completed tail: the greatest of these; a reader's replica has to have come so far
    tail    what is reserved, by compare and swap, a batch at a time

    head <= ltail of each <= ctail <= tail

Between ctail and tail entries may be reserved and not yet written. An entry has a bit that says whether it
belongs to this lap: 1 in the first lap, 0 in the second. Who replays waits for it. An entry is written anew
only when no replica needs what it said; *reserve* entries are kept free beyond that, for the combiners that
have looked before others reserved. Where there is no room a combiner replays its own replica, looks up all
local tails, and, if that does not help, replays the log for the slowest replica in place of those who should.

Source: vmware/node-replication, node-replication/src/log.rs at 20f8a47; NrOS makes logs of 2 MiB
(kernel/src/arch/x86_64/process.rs at 38557a6).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from sim.designs.nros.operations import Answer, LogOperation
from sim.engine import Activity, Steps

if TYPE_CHECKING:
    from sim.designs.nros.replica import Replica
    from sim.designs.nros.runner import Runner
    from sim.designs.nros.spec import LogSpec, NrosCosts
    from sim.engine.costs import AtClock
    from sim.hardware import CacheLine, Cpu, Machine

LOG: Final = Activity("log")


class Entry:
    """One place of the ring. *lap* is the bit of the lap in which it was written last."""

    __slots__ = ("lap", "line", "operation", "replica")

    def __init__(self, line: CacheLine) -> None:
        self.line = line
        self.lap = False
        self.operation: LogOperation | None = None
        self.replica = -1


class Log:
    """The log of one process, which *maker* has made."""

    __slots__ = (
        "_cost",
        "_entries",
        "_head_line",
        "_home",
        "_machine",
        "_maker",
        "_spec",
        "_tail_line",
        "batches",
        "ctail",
        "ctail_line",
        "head",
        "helped",
        "replicas",
        "tail",
    )

    def __init__(self, machine: Machine, spec: LogSpec, cost: AtClock[NrosCosts], maker: Cpu) -> None:
        self._machine = machine
        self._spec = spec
        self._cost = cost
        self._home = home = maker.socket
        self._maker = maker.id
        self._entries: dict[int, Entry] = {}
        self._head_line = machine.line("log: head", home)
        self._tail_line = machine.line("log: tail", home)
        self.ctail_line = machine.line("log: ctail", home)
        self.head = self.tail = self.ctail = 0
        self.batches = 0
        """How often a combiner has appended."""
        self.helped = 0
        """How often a combiner has replayed the log for another replica."""
        self.replicas: list[Replica] = []

    def _entry(self, number: int) -> Entry:
        """The place of entry *number*, counted from the first one ever."""
        at = number & self._spec.entries - 1
        entry = self._entries.get(at)
        if entry is None:
            lines, owner = self._spec.entry_lines, self._maker  # who has filled it with empty entries
            line = self._machine.line(f"log: entry {at}", self._home, owner=owner, lines=lines)
            entry = self._entries[at] = Entry(line)
        return entry

    def _lap(self, number: int) -> bool:
        """The bit of the lap of entry *number*."""
        return not number // self._spec.entries & 1

    def pending(self, replica: Replica) -> list[LogOperation]:
        """What *replica* has not replayed. Asked when no thread runs."""
        entries = (self._entry(number).operation for number in range(replica.ltail, self.tail))
        return [each for each in entries if each is not None]

    @property
    def _limit(self) -> int:
        """The tail from which on nobody appends before the head has moved."""
        return self.head + self._spec.entries - self._spec.reserve

    # -- appending ------------------------------------------------------------------------------------------

    def append(self, runner: Runner, replica: Replica, operations: Sequence[LogOperation]) -> Steps[None]:
        """Reserve as many entries as there are *operations*, all at once, and write them."""
        looks = 0
        while True:
            yield from runner.read(self._tail_line, LOG)
            yield from runner.read(self._head_line, LOG)
            tail = self.tail
            if tail > self._limit:
                looks += 1
                yield from self._make_room(runner, replica, looks)
                continue
            yield from runner.write(self._tail_line, LOG)  # compare and swap
            if self.tail == tail:
                break
        self.batches += 1
        self.tail = tail + len(operations)
        for number, operation in enumerate(operations, tail):
            entry = self._entry(number)
            runner.work(self._cost.append, LOG)
            yield from runner.write(entry.line, LOG)
            entry.operation, entry.replica = operation, replica.number
            entry.lap = self._lap(number)
        if self.tail > self._limit:
            yield from self._advance_head(runner)

    def _make_room(self, runner: Runner, replica: Replica, looks: int) -> Steps[None]:
        """There is none: the appender's own replica may be behind, or another one."""
        yield from self.replay(runner, replica)
        yield from self._advance_head(runner)
        if self.tail <= self._limit:
            return
        if looks % self._spec.helps_after == 0:
            slowest = min(self.replicas, key=_ltail)
            if slowest is not replica:
                self.helped += 1
                yield from slowest.replay_for(runner)
        else:
            runner.work(runner.poll, LOG)
            yield from runner.settle()

    def _advance_head(self, runner: Runner) -> Steps[None]:
        """The head is the least of all local tails."""
        for each in self.replicas:
            yield from runner.read(each.ltail_line, LOG)
        least = min(each.ltail for each in self.replicas)
        if least > self.head:
            yield from runner.write(self._head_line, LOG)
            self.head = max(self.head, least)

    # -- replaying ------------------------------------------------------------------------------------------

    def replay(self, runner: Runner, replica: Replica) -> Steps[list[Answer]]:
        """Bring *replica*, which is locked for writing, up to the tail. Value: the answers to its own
        operations."""
        answers: list[Answer] = []
        yield from runner.read(replica.ltail_line, LOG)
        yield from runner.read(self._tail_line, LOG)
        end = self.tail
        if replica.ltail == end:
            return answers
        yield from runner.read(self._head_line, LOG)
        for number in range(replica.ltail, end):
            entry = self._entry(number)
            yield from runner.read(entry.line, LOG)
            looks = 0
            while entry.lap != self._lap(number):
                yield from runner.look_again(entry.line, LOG, looks)
                looks += 1
            assert entry.operation is not None
            runner.work(self._cost.replay, LOG)
            answer = yield from replica.vspace.apply(runner, entry.operation)
            if entry.replica == replica.number:
                answers.append(answer)
            yield from runner.write(replica.ltail_line, LOG)
            replica.ltail = number + 1
        yield from runner.write(self.ctail_line, LOG)
        self.ctail = max(self.ctail, end)
        yield from runner.settle()
        replica.has_replayed()
        return answers


def _ltail(replica: Replica) -> int:
    return replica.ltail
