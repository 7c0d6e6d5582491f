"""A VMA lock from an outside package: one bit for each VMA, which one fault at a time may have."""

from __future__ import annotations

from sim.designs.linux import Site, SlabObject, VmaLock, VmaLocks
from sim.engine import Activity, Steps
from sim.hardware import CacheLine, Cpu
from sim.sync import Lock, releases, takes, tries

ONE_BIT = Activity("lock: vma bit")


class Bit(Lock):
    """A bit that is exchanged; who finds it set tries again, or leaves it."""

    __slots__ = ("_line", "_set")

    def __init__(self, line: CacheLine) -> None:
        super().__init__(line.name, ONE_BIT)
        self._line = line
        self._set = False

    def acquire(self, cpu: Cpu) -> Steps[None]:
        steps = self._acquire(cpu)
        return steps if cpu.plain_locks else takes(self, cpu, "write", steps)

    def _acquire(self, cpu: Cpu) -> Steps[None]:
        yield from self._line.write(cpu, ONE_BIT)
        while self._set:
            yield from self._line.write(cpu, ONE_BIT)
        self._set = True

    def try_acquire(self, cpu: Cpu) -> Steps[bool]:
        steps = self._try_acquire(cpu)
        return steps if cpu.plain_locks else tries(self, cpu, "write", steps)

    def _try_acquire(self, cpu: Cpu) -> Steps[bool]:
        yield from self._line.write(cpu, ONE_BIT)
        free, self._set = not self._set, True
        return free

    def release(self, cpu: Cpu) -> Steps[None]:
        steps = self._release(cpu)
        return steps if cpu.plain_locks else releases(self, cpu, "write", steps)

    def _release(self, cpu: Cpu) -> Steps[None]:
        yield from self._line.store(cpu, ONE_BIT)
        self._set = False


class OneBitLocks(VmaLocks):
    """What the VMAs of a process share: the number of the write section."""

    def __init__(self, site: Site) -> None:
        self._line = site.line("write section")
        self.section = 0

    def new(self, cpu: Cpu, start: int, memory: SlabObject) -> VmaLock:
        return OneBitLock(self, Bit(memory.line(0)))

    def begin_write(self, cpu: Cpu) -> Steps[None]:
        return
        yield

    def end_write_all(self, cpu: Cpu) -> Steps[None]:
        yield from self._line.store(cpu, ONE_BIT)
        self.section += 1


class OneBitLock(VmaLock):
    """The bit of a VMA, and the section in which a writer had it."""

    __slots__ = ("_bit", "_locks", "_written_in")

    def __init__(self, locks: OneBitLocks, bit: Bit) -> None:
        self._locks = locks
        self._bit = bit
        self._written_in = -1

    def start_read(self, cpu: Cpu) -> Steps[bool]:
        taken = yield from self._bit.try_acquire(cpu)
        if taken and self._written_in == self._locks.section:
            yield from self._bit.release(cpu)
            return False
        return taken

    def end_read(self, cpu: Cpu) -> Steps[None]:
        return self._bit.release(cpu)

    def start_write(self, cpu: Cpu) -> Steps[None]:
        if self._written_in != self._locks.section:
            yield from self._bit.acquire(cpu)
            self._written_in = self._locks.section
            yield from self._bit.release(cpu)

    def mark_detached(self, cpu: Cpu) -> Steps[None]:
        return
        yield
