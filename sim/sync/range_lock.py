"""A lock of ranges that is a list of those held (A. Kogan, D. Dice, S. Issa, EuroSys 2020).

    head -> [0, 8) W -> [16, 20) R -> [18, 40) R -> ...       what is held now, by its beginning

    acquire   walk from the head: unlink what is marked; wait for the mark of what conflicts; a compare-and-
              swap of the link behind the last node in front puts the own one in, else from the head again
    release   mark the own node: one store, whoever comes by unlinks it
    empty     a compare-and-swap of the head, which says that the node came alone; the same takes it out

Two readers do not conflict, so a walk passes nodes that overlap its own, and two may come in without meeting:
a reader looks once more at those behind its node, and waits for the writers there; a writer at those from the
head up to its own, and if a reader is there it marks itself and starts anew. So readers win.

    reader [0, 50)   walks .. in at the front | looks behind itself: waits for the writer
    writer [30, 40)  walks past the front ... in | looks from the head: finds the reader, marks itself, again

What it costs depends on who holds ranges now, not on how many there are to hold. Invariants: ranges of nodes
that are let in and not marked overlap only if all of them read; a node is unlinked only when it is marked.

Each thread has nodes of its own, which are freed by epochs; here a cpu has one line for each that it has in
the list at a time. In the paper a waiter spins and may yield, here it spins.
"""

from __future__ import annotations

from typing import ClassVar, Final

from sim.engine import Activity, Steps
from sim.hardware import CacheLine, Cpu, Machine, Task
from sim.sync.lock import Lock, downgrades, releases, takes, tries
from sim.sync.spin import spin_on

EVERYTHING: Final = 1 << 62
"""The end of a range that has all."""


class HeldRange:
    """[*start*, *end*), to *write* or to read, of *task*. *marked*: it is released, and *waiters* told."""

    __slots__ = ("end", "line", "marked", "next", "start", "task", "waiters", "write")

    def __init__(self, line: CacheLine, task: Task, start: int, end: int, write: bool) -> None:
        self.line = line
        self.task = task
        self.start = start
        self.end = end
        self.write = write
        self.marked = False
        self.next: HeldRange | None = None
        self.waiters: list[Cpu] = []

    @property
    def is_everything(self) -> bool:
        return self.end == EVERYTHING

    def overlaps(self, other: HeldRange) -> bool:
        return self.start < other.end and other.start < self.end

    def conflicts(self, other: HeldRange) -> bool:
        """Whether one of the two has to wait for the other."""
        return not self.marked and (self.write or other.write) and self.overlaps(other)


class RangeLock(Lock):
    """The list that begins in *line*. A thread holds one range at a time.

    It is more than a lock, so no run does without it (`sim.sync.without`). The probe is told of a range of
    everything as of any lock; of a part as of a reader, whatever it does there, for the lock as a whole is
    shared then.
    """

    __slots__ = ("_alone", "_head", "_held", "_lines", "_machine", "line")

    removable: ClassVar[bool] = False

    def __init__(self, machine: Machine, name: str, line: CacheLine, activity: Activity) -> None:
        super().__init__(name, activity)
        self.line = line
        self._machine = machine
        self._head: HeldRange | None = None
        self._alone = False  # the head's flag: its node came into an empty list
        self._held: dict[Task, HeldRange] = {}
        self._lines: dict[int, list[CacheLine]] = {}

    def describe_wait(self) -> str:
        ranges = [f"[{each.start:#x}, {each.end:#x})" for each in self._held.values()]
        return f"{self.name} (held: {', '.join(ranges) or 'nothing'})"

    def held_by(self, task: Task) -> HeldRange | None:
        """What *task* holds."""
        return self._held.get(task)

    # -- parts ----------------------------------------------------------------------------------------------

    def acquire(self, cpu: Cpu, start: int, end: int, *, write: bool) -> Steps[None]:
        """Wait for [*start*, *end*)."""
        steps = self._acquire(cpu, start, end, write)
        return steps if cpu.plain_locks else takes(self, cpu, "read", steps)

    def release(self, cpu: Cpu) -> Steps[None]:
        """Give up the part that this thread holds."""
        steps = self._release(cpu)
        return steps if cpu.plain_locks else releases(self, cpu, "read", steps)

    # -- everything -----------------------------------------------------------------------------------------

    def write_lock(self, cpu: Cpu) -> Steps[None]:
        steps = self._acquire(cpu, 0, EVERYTHING, True)
        return steps if cpu.plain_locks else takes(self, cpu, "write", steps)

    def write_unlock(self, cpu: Cpu) -> Steps[None]:
        steps = self._release(cpu)
        return steps if cpu.plain_locks else releases(self, cpu, "write", steps)

    def read_lock(self, cpu: Cpu) -> Steps[None]:
        steps = self._acquire(cpu, 0, EVERYTHING, False)
        return steps if cpu.plain_locks else takes(self, cpu, "read", steps)

    def read_unlock(self, cpu: Cpu) -> Steps[None]:
        steps = self._release(cpu)
        return steps if cpu.plain_locks else releases(self, cpu, "read", steps)

    def read_trylock(self, cpu: Cpu) -> Steps[bool]:
        """Value: whether there was no writer, and it is taken for reading."""
        steps = self._read_trylock(cpu)
        return steps if cpu.plain_locks else tries(self, cpu, "read", steps)

    def _read_trylock(self, cpu: Cpu) -> Steps[bool]:
        yield from self.line.read(cpu, self.activity)
        if any(each.write for each in self._held.values()):
            return False
        yield from self._acquire(cpu, 0, EVERYTHING, False)
        return True

    def write_downgrade(self, cpu: Cpu) -> Steps[None]:
        steps = self._downgrade(cpu)
        return steps if cpu.plain_locks else downgrades(self, cpu, steps)

    def _downgrade(self, cpu: Cpu) -> Steps[None]:
        node = self._held[cpu.current]
        yield from node.line.store(cpu, self.activity)
        node.write = False
        self._tell(cpu, node)

    # -- the list -------------------------------------------------------------------------------------------

    def _acquire(self, cpu: Cpu, start: int, end: int, write: bool) -> Steps[None]:
        lines = self._lines.setdefault(cpu.id, [])
        line = lines.pop() if lines else self._machine.line("range node", cpu.socket, owner=cpu.id)
        while True:
            node = HeldRange(line, cpu.current, start, end, write)
            yield from line.store(cpu, self.activity)
            alone = yield from self._enter_empty(cpu, node)
            if alone:
                break
            entered = yield from self._enter(cpu, node)
            if not entered:
                continue
            look = self._clear_of_readers if write else self._clear_of_writers
            good = yield from look(cpu, node)
            if good:
                break
        self._held[cpu.current] = node

    def _is_empty(self) -> bool:
        return self._head is None

    def _enter_empty(self, cpu: Cpu, node: HeldRange) -> Steps[bool]:
        """The fast path. Value: whether the list was empty, and *node* is in it."""
        yield from self.line.read(cpu, self.activity)
        if not self._is_empty():
            return False
        yield from self.line.write(cpu, self.activity)
        if not self._is_empty():
            return False
        self._head, self._alone = node, True
        return True

    def _enter(self, cpu: Cpu, node: HeldRange) -> Steps[bool]:
        """Walk to where *node* belongs and link it. Value: False where the walk has to begin anew."""
        before: HeldRange | None = None
        while True:
            if before is None and self._alone:  # whoever came alone must mark his node from now on
                yield from self.line.write(cpu, self.activity)
                self._alone = False
            here = self._after(before)
            if here is not None:
                yield from here.line.read(cpu, self.activity)
            if before is not None and before.marked:
                return False
            if here is not None and here.marked:
                yield from self._link_of(before).write(cpu, self.activity)
                if self._after(before) is not here or (before is not None and before.marked):
                    return False
                self._set_after(before, here.next)
                continue
            if here is not None and here.end <= node.start:
                before = here
                continue
            if here is not None and here.conflicts(node):
                yield from self._await(cpu, here, node)
                continue
            if here is not None and here.start < node.start:  # both read
                before = here
                continue
            yield from self._link_of(before).write(cpu, self.activity)
            if self._after(before) is not here or (before is not None and before.marked):
                return False
            node.next = here
            self._set_after(before, node)
            return True

    def _clear_of_writers(self, cpu: Cpu, node: HeldRange) -> Steps[bool]:
        """What a reader does once it is in: wait for the writers behind it."""
        other = node.next
        while other is not None and other.start < node.end:
            yield from other.line.read(cpu, self.activity)
            if other.conflicts(node):
                yield from self._await(cpu, other, node)
            other = other.next
        return True

    def _clear_of_readers(self, cpu: Cpu, node: HeldRange) -> Steps[bool]:
        """What a writer does once it is in: look for others in front of it. Value: False if there are any,
        and *node* is given up."""
        other = self._head
        while other is not None and other is not node:
            yield from other.line.read(cpu, self.activity)
            if other.conflicts(node):
                yield from self._mark(cpu, node)
                return False
            other = other.next
        return True

    def _release(self, cpu: Cpu) -> Steps[None]:
        node = self._held.pop(cpu.current)
        if self._alone and self._head is node:
            yield from self.line.write(cpu, self.activity)
            if self._alone and self._head is node:
                self._head, self._alone = None, False
                node.marked = True
                self._lines[cpu.id].append(node.line)
                return
        yield from self._mark(cpu, node)
        self._lines[cpu.id].append(node.line)

    def _mark(self, cpu: Cpu, node: HeldRange) -> Steps[None]:
        yield from node.line.store(cpu, self.activity)
        node.marked = True
        self._tell(cpu, node)

    def _await(self, cpu: Cpu, other: HeldRange, node: HeldRange) -> Steps[None]:
        """Spin until *other* is no longer in the way of *node*."""
        other.waiters.append(cpu)
        yield from spin_on(other.line, cpu, self, lambda: other.conflicts(node))
        other.waiters.remove(cpu)

    def _tell(self, cpu: Cpu, node: HeldRange) -> None:
        for waiter in node.waiters:
            waiter.poke(self, cpu.pending)

    def _after(self, before: HeldRange | None) -> HeldRange | None:
        return self._head if before is None else before.next

    def _set_after(self, before: HeldRange | None, node: HeldRange | None) -> None:
        if before is None:
            self._head = node
        else:
            before.next = node

    def _link_of(self, before: HeldRange | None) -> CacheLine:
        return self.line if before is None else before.line
