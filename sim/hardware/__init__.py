"""Machine, cache lines, DRAM, TLBs, interrupts. Every number comes from a machine file."""

from sim.hardware.broadcast import TlbBroadcast
from sim.hardware.cpu import IDLE, INTERRUPT, TLB_FLUSH, Cpu
from sim.hardware.interrupts import IPI_SEND, IPI_WAIT, InterruptController, Round
from sim.hardware.line import LINE, MEMORY, CacheLine, Fabric
from sim.hardware.machine import Machine
from sim.hardware.memory import ZERO, MemorySystem
from sim.hardware.spec import MachineSpec, Spec, Topology
from sim.hardware.tlb import Tlb, Translation

__all__ = [
    "IDLE",
    "INTERRUPT",
    "IPI_SEND",
    "IPI_WAIT",
    "LINE",
    "MEMORY",
    "TLB_FLUSH",
    "ZERO",
    "CacheLine",
    "Cpu",
    "Fabric",
    "InterruptController",
    "Machine",
    "MachineSpec",
    "MemorySystem",
    "Round",
    "Spec",
    "Tlb",
    "TlbBroadcast",
    "Topology",
    "Translation",
]
