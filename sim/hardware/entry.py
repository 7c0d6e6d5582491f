"""What it costs to cross the border between user mode and the kernel."""

from __future__ import annotations

from sim.engine import Activity
from sim.hardware.cpu import Cpu
from sim.hardware.spec import MachineSpec


class KernelEntry:
    """The border between user mode and the kernel, as one kernel on one machine crosses it.

    What the entry code does is work, which a busy sibling makes longer. What mitigations add is waiting:
    writes of CR3 and of MSRs, VERW and LFENCE let nothing else of their thread run, and take next to no issue
    slots of the core, which are what siblings take from each other.
    """

    __slots__ = ("_exception", "_exception_stall", "_syscall", "_syscall_stall", "way_out")

    def __init__(self, spec: MachineSpec) -> None:
        kernel, clock = spec.kernel, spec.clock
        self._syscall = kernel.syscall.at(clock)
        self._exception = kernel.exception.at(clock)
        taken = spec.mitigations_in_force
        self._syscall_stall = sum(each.syscall.at(clock) for each in taken)
        self._exception_stall = sum(each.exception.at(clock) for each in taken)
        self.way_out = int((self._syscall + self._syscall_stall) * kernel.way_out)
        """Ps that a system call takes on the way out, on a core of its own."""

    def syscall(self, cpu: Cpu, activity: Activity, work: int = 0) -> None:
        """A system call, there and back, with *work* ps of private work in it."""
        cpu.work(self._syscall + work, activity)
        if self._syscall_stall:
            cpu.stall(self._syscall_stall, activity)

    def exception(self, cpu: Cpu, activity: Activity) -> None:
        """A page fault, there and back."""
        cpu.work(self._exception, activity)
        if self._exception_stall:
            cpu.stall(self._exception_stall, activity)
