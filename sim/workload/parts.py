"""How long each kind of operation takes inside the requests of a run, as a kernel's own timers say it.

A benchmark's latency is that of a request. Some report beside it what its parts take, from timers in the
kernel: the mean of an mmap, of a page fault, of a munmap, of the shootdown in it. A workload that says
`part_latencies: true` has the same:

    user | syscall |== mmap ==| access | exception |== fault ==| syscall |======= munmap =======| user
                                                                            |== shootdown ==|

What crossing the border takes is in none of them: their timers begin behind it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from sim.engine.pages import Paged
from sim.mm import SYSCALL
from sim.quantities import PS_PER_NS

if TYPE_CHECKING:
    from sim.engine.probe import CallView, CpuView

FAULT: Final = "fault"
SHOOTDOWN: Final = "shootdown"


@dataclass(slots=True)
class _Sum:
    """How many operations, and their time (ps)."""

    count: int = 0
    time: int = 0

    def add(self, time: int, count: int = 1) -> None:
        self.count += count
        self.time += time


_Page = dict[str, _Sum]


class Parts(Paged[_Page]):
    """Times of operations, page faults and shootdowns on the cpus that are measured, or, *of_all*, on all.

    Those count that begin in the measured part of a run, those of a refill included. A shootdown is a flush
    that interrupts other cpus, from its begin to the last acknowledgement; one that needs nobody is none. A
    fault that a system call makes (to populate memory) is a part of that call.
    """

    def __init__(self, *, of_all: bool = False) -> None:
        self._of_all = of_all
        self._total: _Page = {}
        self._measured: frozenset[int] = frozenset()
        self._operations: dict[tuple[int, object], tuple[int, int, _Page]] = {}
        self._faults: dict[object, tuple[int, _Page]] = {}
        self._flushes: dict[object, tuple[int, _Page]] = {}
        super().__init__()

    def means(self) -> dict[str, float]:
        """Part -> its mean (ns), over all runs; those that did not happen are not there."""
        return {name: part.time / part.count / PS_PER_NS for name, part in sorted(self._total.items())}

    # -- pages ----------------------------------------------------------------------------------------------

    def blank(self) -> _Page:
        return {}

    def run_begins(self, cpus: Sequence[CpuView]) -> None:
        self._operations.clear()
        self._faults.clear()
        self._flushes.clear()
        super().run_begins(cpus)

    def measures(self, cpus: Sequence[CpuView]) -> None:
        self._measured = frozenset(cpu.id for cpu in (self.cpus if self._of_all else cpus))

    def count(self, page: _Page, cpus: int) -> None:
        for name, part in page.items():
            self._total.setdefault(name, _Sum()).add(part.time, part.count)

    # -- hooks ----------------------------------------------------------------------------------------------

    def operation_begins(self, cpu: CpuView, operation: object) -> None:
        if cpu.id in self._measured:
            self._operations[id(operation), cpu.current] = cpu.now, cpu.charged(SYSCALL), self.page

    def operation_ends(self, cpu: CpuView, operation: Any) -> None:
        begun = self._operations.pop((id(operation), cpu.current), None)
        if begun is not None:
            at, crossed, page = begun
            name = part_name(operation.name)
            page.setdefault(name, _Sum()).add(cpu.now - at - (cpu.charged(SYSCALL) - crossed))
        self._flushes.pop(cpu.current, None)

    def fault_begins(self, cpu: CpuView, page: int) -> None:
        if cpu.id in self._measured:
            self._faults[cpu.current] = cpu.now, self.page

    def fault_ends(self, cpu: CpuView, page: int) -> None:
        begun = self._faults.pop(cpu.current, None)
        if begun is not None:
            at, in_page = begun
            in_page.setdefault(FAULT, _Sum()).add(cpu.now - at)
        self._flushes.pop(cpu.current, None)

    def flush(self, cpu: CpuView, pages: int) -> None:
        if cpu.id in self._measured:
            self._flushes[cpu.current] = cpu.now, self.page

    def ipi_over(self, cpu: CpuView, call: CallView) -> None:
        begun = self._flushes.pop(cpu.current, None)
        if begun is not None and call.targets:
            at, page = begun
            page.setdefault(SHOOTDOWN, _Sum()).add(cpu.now - at)


def part_name(operation: str) -> str:
    """What the part with the operations of that name is called in tables and metrics: `mmap_of_a_file`."""
    return operation.replace(" ", "_")
