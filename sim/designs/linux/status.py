"""Reading /proc/PID/status, as far as it says how much memory a process has (fs/proc/task_mmu.c task_mem;
6.13): nothing is locked, the counters are read as they stand."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sim.engine import Steps
from sim.hardware import Cpu
from sim.mm import SYSCALL, ProcessStatus, ReadStatus
from sim.quantities import PAGE_BYTES

if TYPE_CHECKING:
    from sim.designs.linux.mm import LinuxMm


def read_status(mm: LinuxMm, cpu: Cpu, asked: ReadStatus) -> Steps[ProcessStatus]:
    """VmRSS and VmPTE."""
    mm.machine.entry.syscall(cpu, SYSCALL, mm.cost.maps_read)
    yield from mm.lines["rss_stat"].read(cpu, SYSCALL)
    yield from mm.lines["pgtables_bytes"].read(cpu, SYSCALL)
    stat = mm.stat
    return ProcessStatus((stat.anon_pages + stat.file_pages) * PAGE_BYTES, stat.pgtables_bytes)
