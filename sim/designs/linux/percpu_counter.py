"""struct percpu_counter: a sum that each cpu adds to on its own, up to a batch (lib/percpu_counter.c, 6.13).

    cpu's own part  |-- + n, + n, ... --| batch is reached: lock, fold the part into the shared count, unlock

While the part stays below the batch, adding is a few instructions of the step that adds. The lock and the
shared count lie on one line.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sim.engine import Activity, Steps
from sim.hardware import CacheLine, Cpu
from sim.sync import QueueNodes, spin_lock

if TYPE_CHECKING:
    from sim.hardware import Machine

LOCK_COUNTER: Final = Activity("lock: counters")


def default_batch(machine: Machine) -> int:
    """compute_batch_value: twice as much as there are cpus, 32 at least."""
    return max(32, 2 * machine.spec.cpus)


class PercpuCounter:
    """*count* is the shared part; what cpus have added since they folded theirs in is missing in it.

    *line* has the lock and the count. *pointer* is the line where each add looks up where the cpu's own part
    is (`counters`), where others write that line; None where nobody does.
    """

    __slots__ = ("_batch", "_lock", "_parts", "_pointer", "count", "line")

    def __init__(
        self,
        machine: Machine,
        nodes: QueueNodes,
        name: str,
        line: CacheLine,
        batch: int,
        *,
        pointer: CacheLine | None = None,
    ) -> None:
        self.line = line
        self.count = 0
        self._batch = batch
        self._pointer = pointer
        self._parts = [0] * len(machine.cpus)
        self._lock = spin_lock(nodes, line, LOCK_COUNTER, name)

    def add(self, cpu: Cpu, amount: int) -> Steps[None]:
        """percpu_counter_add_batch."""
        pointer = self._pointer
        if pointer is not None and not pointer.held_by(cpu):
            yield from pointer.read(cpu, LOCK_COUNTER)
        if abs(self._parts[cpu.id] + amount) < self._batch:
            self._parts[cpu.id] += amount
            return
        if cpu.pending:
            yield cpu.take_pending()
        cpu.disable_interrupts()
        yield from self._lock.acquire(cpu)
        yield from self.line.store(cpu, LOCK_COUNTER)
        self.count += self._parts[cpu.id] + amount
        self._parts[cpu.id] = 0
        yield from self._lock.release(cpu)
        cpu.enable_interrupts()

    def add_at_once(self, amount: int) -> None:
        """Before anything is measured, in no time: *amount* more, all of it in the shared count."""
        self.count += amount

    def sum(self) -> int:
        """percpu_counter_sum, of an instant."""
        return self.count + sum(self._parts)
