"""Who executes a step of the kernel: a thread, or the handler of an interrupt on its cpu.

What advances a replica runs in both. A thread waits for lines and locks in their queues. A handler cannot: it
goes before those who queue for a line, and looks at a lock again and again. Either yields how long the next
piece takes (ps), a thread to the engine, a handler to who drives it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, ClassVar, Final

from sim.engine import Activity, Steps
from sim.hardware import CacheLine, Cpu

if TYPE_CHECKING:
    from sim.designs.nros.frames import FrameCaches
    from sim.designs.nros.mutex import Mutex


_COARSE: Final = 4
"""In the end 2**4 looks are one."""


class Runner(ABC):
    """Code that runs on *cpu*; *poll* is the time between two looks at a word (ps)."""

    __slots__ = ("cpu", "poll")

    is_thread: ClassVar[bool] = True

    def __init__(self, cpu: Cpu, poll: int) -> None:
        self.cpu = cpu
        self.poll = poll

    @abstractmethod
    def work(self, cost: int, activity: Activity) -> None:
        """Spend *cost* ps on what nobody else sees."""

    @abstractmethod
    def settle(self) -> Steps[None]:
        """Let the time of all this work pass."""

    @abstractmethod
    def read(self, line: CacheLine, activity: Activity) -> Steps[None]:
        """Load from *line*."""

    @abstractmethod
    def write(self, line: CacheLine, activity: Activity) -> Steps[None]:
        """Read, change and write *line*."""

    @abstractmethod
    def store(self, line: CacheLine, activity: Activity) -> Steps[None]:
        """Store to *line*."""

    @abstractmethod
    def glance(self, line: CacheLine, activity: Activity) -> Steps[None]:
        """Load from *line*, of which only that matters what it had when the code before began."""

    @abstractmethod
    def acquire(self, lock: Mutex) -> Steps[None]:
        """Take *lock*."""

    @abstractmethod
    def try_acquire(self, lock: Mutex) -> Steps[bool]:
        """Take it if it is free. Value: whether it was."""

    @abstractmethod
    def release(self, lock: Mutex) -> Steps[None]:
        """Let it go."""

    @abstractmethod
    def zero(self, frames: FrameCaches, frame: int) -> Steps[None]:
        """Zero *frame*, of 4 KiB."""

    def look_again(self, line: CacheLine, activity: Activity, looks: int = 0) -> Steps[None]:
        """What *line* says is not what is waited for: pause, load it again.

        After some *looks* in vain several go for one, so that long waits are few events.
        """
        self.work(self.poll << min(looks, _COARSE), activity)
        yield from self.settle()
        yield from self.read(line, activity)
        yield from self.settle()


class ThreadRunner(Runner):
    """The thread on *cpu*, in the kernel."""

    __slots__ = ()

    def work(self, cost: int, activity: Activity) -> None:
        self.cpu.work(cost, activity)

    def settle(self) -> Steps[None]:
        if self.cpu.pending:
            yield self.cpu.take_pending()

    def read(self, line: CacheLine, activity: Activity) -> Steps[None]:
        return line.read(self.cpu, activity)

    def write(self, line: CacheLine, activity: Activity) -> Steps[None]:
        return line.write(self.cpu, activity)

    def store(self, line: CacheLine, activity: Activity) -> Steps[None]:
        return line.store(self.cpu, activity)

    def glance(self, line: CacheLine, activity: Activity) -> Steps[None]:
        return line.read(self.cpu, activity)

    def acquire(self, lock: Mutex) -> Steps[None]:
        return lock.acquire(self.cpu)

    def try_acquire(self, lock: Mutex) -> Steps[bool]:
        return lock.try_acquire(self.cpu)

    def release(self, lock: Mutex) -> Steps[None]:
        return lock.release(self.cpu)

    def zero(self, frames: FrameCaches, frame: int) -> Steps[None]:
        return frames.zero(self.cpu, frame)


class HandlerRunner(Runner):
    """The handler of an interrupt on *cpu*, whose thread stands still meanwhile.

    *length* is what its code has taken since the last piece (ps).
    """

    __slots__ = ("length", "looks")

    is_thread: ClassVar[bool] = False

    def __init__(self, cpu: Cpu, poll: int) -> None:
        super().__init__(cpu, poll)
        self.length = 0
        self.looks = False  # the piece under way is a pause between two looks

    def look_again(self, line: CacheLine, activity: Activity, looks: int = 0) -> Steps[None]:
        yield from self.settle()
        self.looks = True
        yield from super().look_again(line, activity, looks)
        self.looks = False

    def work(self, cost: int, activity: Activity) -> None:
        self.length += self.cpu.work_time(cost)

    def settle(self) -> Steps[None]:
        length, self.length = self.length, 0
        if length:
            yield length

    def read(self, line: CacheLine, activity: Activity) -> Steps[None]:
        yield from self.settle()
        self.length = line.read_in_handler(self.cpu)

    def write(self, line: CacheLine, activity: Activity) -> Steps[None]:
        yield from self.settle()
        self.length = line.take_between(self.cpu, self.cpu.engine._now)

    def store(self, line: CacheLine, activity: Activity) -> Steps[None]:
        return self.write(line, activity)

    def glance(self, line: CacheLine, activity: Activity) -> Steps[None]:
        self.length += line.read_in_handler(self.cpu)
        return
        yield

    def try_acquire(self, lock: Mutex) -> Steps[bool]:
        yield from self.read(lock.line, lock.activity)
        yield from self.settle()
        if lock.is_taken:
            return False
        yield from self.write(lock.line, lock.activity)
        if lock.is_taken:
            return False
        lock.holder = self.cpu
        return True

    def acquire(self, lock: Mutex) -> Steps[None]:
        yield from self.write(lock.line, lock.activity)
        while lock.is_taken:
            self.length += self.poll
            yield from self.write(lock.line, lock.activity)
        lock.holder = self.cpu

    def release(self, lock: Mutex) -> Steps[None]:
        yield from self.write(lock.line, lock.activity)
        lock.let_go(self.length)

    def zero(self, frames: FrameCaches, frame: int) -> Steps[None]:
        yield from self.settle()
        self.length = frames.zero_in_handler(self.cpu, frame)
