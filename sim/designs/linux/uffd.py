"""struct userfaultfd_ctx: the messages of one process, who waits for an answer and who reads (6.13).

    fault_pending_wqh   faults that nobody has read        under its lock
    fault_wqh           faults that were read              under the same
    fd_wqh              monitors that sleep in read        under a lock of its own, which comes first

fs/userfaultfd.c. All readers are woken for a message, and the first that comes takes it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from sim.engine import Activity, Steps
from sim.hardware import Cpu
from sim.sync import QueuedSpinLock, Sleeper, spin_lock

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sim.designs.linux.kernel import LinuxKernel

USERFAULT: Final = Activity("userfault")
"""Activity: messages, and a faulter's wait for its answer; a monitor's for a message."""
LOCK_USERFAULT: Final = Activity("lock: userfault")


class _Fault:
    """A fault in *page* whose thread waits (struct userfaultfd_wait_queue)."""

    __slots__ = ("page", "sleeper", "woken")

    def __init__(self, page: int, sleeper: Sleeper) -> None:
        self.page = page
        self.sleeper = sleeper
        self.woken = False


class Userfaultfd:
    """The file of one process. *closed*: the kernel serves all faults again."""

    __slots__ = ("_fd_lock", "_kernel", "_lock", "_pending", "_read", "_readers", "closed")

    def __init__(self, kernel: LinuxKernel, cpu: Cpu) -> None:
        machine = kernel.machine

        def lock(name: str) -> QueuedSpinLock:
            line = machine.line(f"userfaultfd: {name}", cpu.socket, owner=cpu.id)
            return spin_lock(kernel.nodes, line, LOCK_USERFAULT)

        self._kernel = kernel
        self._lock = lock("fault_pending_wqh")
        self._fd_lock = lock("fd_wqh")
        self._pending: list[_Fault] = []
        self._read: list[_Fault] = []
        self._readers: list[Sleeper] = []
        self.closed = False

    def wait(self, cpu: Cpu, page: int, cost: int, must_wait: Callable[[], Steps[bool]]) -> Steps[_Fault]:
        """Queue a message of a fault in *page*, then look whether it *must_wait* at all; `sleep` is next."""
        cpu.work(cost, USERFAULT)
        fault = _Fault(page, Sleeper(cpu, f"an answer to a userfault in page {page:#x}"))
        yield from self._lock.acquire(cpu)
        self._pending.append(fault)
        yield from self._lock.release(cpu)
        waits = yield from must_wait()
        if not waits:
            yield from self._withdraw(cpu, fault)
        return fault

    def sleep(self, cpu: Cpu, fault: _Fault) -> Steps[None]:
        """Wake the readers and sleep until a monitor has answered."""
        if fault.woken:
            return
        if self.closed:
            yield from self._withdraw(cpu, fault)
            return
        yield from self.wake_readers(cpu)
        yield from self._kernel.scheduler.sleep(cpu, fault.sleeper, USERFAULT)

    def _withdraw(self, cpu: Cpu, fault: _Fault) -> Steps[None]:
        yield from self._lock.acquire(cpu)
        for queue in (self._pending, self._read):
            if fault in queue:
                queue.remove(fault)
        fault.woken = True
        yield from self._lock.release(cpu)

    def wake(self, cpu: Cpu, pages: range | None) -> Steps[None]:
        """wake_userfault: who waits for one of *pages*, or for any, faults again."""
        if cpu.pending:
            yield cpu.take_pending()
        if not self._pending and not self._read:  # waitqueue_active
            return
        yield from self._lock.acquire(cpu)
        for queue in (self._pending, self._read):
            for fault in list(queue):
                if pages is None or fault.page in pages:
                    queue.remove(fault)
                    fault.woken = True
                    self._kernel.scheduler.wake(cpu, fault.sleeper)
        yield from self._lock.release(cpu)

    def wake_readers(self, cpu: Cpu) -> Steps[None]:
        """wake_up_poll: all of them."""
        yield from self._fd_lock.acquire(cpu)
        readers, self._readers = self._readers, []
        for reader in readers:
            self._kernel.scheduler.wake(cpu, reader)
        yield from self._fd_lock.release(cpu)

    def read(self, cpu: Cpu, cost: int) -> Steps[int | None]:
        """userfaultfd_ctx_read: the page of the oldest message; None once the file is closed."""
        yield from self._fd_lock.acquire(cpu)
        while True:
            yield from self._lock.acquire(cpu)
            fault = self._pending.pop(0) if self._pending else None
            if fault is not None:
                self._read.append(fault)
                cpu.work(cost, USERFAULT)
            yield from self._lock.release(cpu)
            if fault is not None or self.closed:
                break
            reader = Sleeper(cpu, "a userfault")
            self._readers.append(reader)
            yield from self._fd_lock.release(cpu)
            yield from self._kernel.scheduler.sleep(cpu, reader, USERFAULT)
            yield from self._fd_lock.acquire(cpu)
        yield from self._fd_lock.release(cpu)
        return None if fault is None else fault.page

    def contradictions(self) -> Iterator[str]:
        """Nobody waits any more."""
        for fault in (*self._pending, *self._read):
            yield f"a userfault in page {fault.page:#x} has not been answered"
