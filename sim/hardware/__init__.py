"""Machine, cache lines, DRAM, TLBs, interrupts. Every number comes from a machine file."""

from sim.hardware.boot import booted
from sim.hardware.broadcast import TlbBroadcast
from sim.hardware.cpu import IDLE, INTERRUPT, TLB_FLUSH, Cpu, Lent, SmtCpu, Task
from sim.hardware.fabric import Fabric
from sim.hardware.heard_cpu import HeardCpu
from sim.hardware.interrupts import IPI_SEND, IPI_WAIT, Call, InterruptController, Round
from sim.hardware.line import LINE, MEMORY, CacheLine
from sim.hardware.line_kinds import EntryLine, GuardedLine, make_line
from sim.hardware.line_span import LineSpan
from sim.hardware.machine import Machine
from sim.hardware.memory import COPY, HUGE_PAGES, ZERO, MemorySystem
from sim.hardware.reach import Reach
from sim.hardware.spec import MachineSpec
from sim.hardware.tlb import Tlb, Translation
from sim.hardware.topology import Seat, Topology

__all__ = [
    "COPY",
    "HUGE_PAGES",
    "IDLE",
    "INTERRUPT",
    "IPI_SEND",
    "IPI_WAIT",
    "LINE",
    "MEMORY",
    "TLB_FLUSH",
    "ZERO",
    "CacheLine",
    "Call",
    "Cpu",
    "EntryLine",
    "Fabric",
    "GuardedLine",
    "HeardCpu",
    "InterruptController",
    "Lent",
    "LineSpan",
    "Machine",
    "MachineSpec",
    "MemorySystem",
    "Reach",
    "Round",
    "Seat",
    "SmtCpu",
    "Spec",
    "Task",
    "Tlb",
    "TlbBroadcast",
    "Topology",
    "Translation",
    "booted",
    "make_line",
]
