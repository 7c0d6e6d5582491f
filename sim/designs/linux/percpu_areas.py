"""Per-cpu memory of processes: counters and concurrency ids that a new mm_struct brings (mm/percpu.c, 6.13).

Each area has a part for every cpu that the machine may have, whether a thread ever runs there or not. All
processes get them from one allocator under one lock, so programs that fork and execute on many cpus queue for
it; and each of them fills the parts of all cpus when it begins, and sums them up when it ends (check_mm).

    new process   pcpu_lock: find room | zero the part of each cpu
    its end       sum the parts of all cpus | pcpu_lock: give it back

Source: kernel/fork.c mm_init and __mmdrop, lib/percpu_counter.c (6.13). In the kernel the end runs on the cpu
that has left the process, a little after its exit; here it is a part of exit.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sim.engine import Activity, Steps
from sim.hardware import Cpu, Machine
from sim.mm import SYSCALL
from sim.sync import QueueNodes, spin_lock

if TYPE_CHECKING:
    from sim.designs.linux.costs import Costs
    from sim.engine.costs import AtClock

LOCK_PERCPU: Final = Activity("lock: percpu")


class PercpuAreas:
    """The allocator. A process has *areas* of them: 0 where its counters are in its mm_struct."""

    __slots__ = ("_areas", "_cost", "_each_cpu", "_lock")

    def __init__(self, machine: Machine, nodes: QueueNodes, cost: AtClock[Costs], areas: int) -> None:
        self._areas = areas
        self._cost = cost
        self._each_cpu = cost.percpu_cpu * machine.spec.cpus
        self._lock = spin_lock(nodes, machine.line("pcpu_lock"), LOCK_PERCPU)

    def allocate(self, cpu: Cpu) -> Steps[None]:
        """mm_init: what a new process has of them."""
        for _ in range(self._areas):
            yield from self._section(cpu)
            cpu.work(self._each_cpu, SYSCALL)

    def free(self, cpu: Cpu) -> Steps[None]:
        """__mmdrop."""
        for _ in range(self._areas):
            cpu.work(self._each_cpu, SYSCALL)
            yield from self._section(cpu)

    def _section(self, cpu: Cpu) -> Steps[None]:
        yield from self._lock.acquire(cpu)
        cpu.work(self._cost.percpu_area, SYSCALL)
        yield from self._lock.release(cpu)
