"""DRAM bandwidth: links and sockets as servers of bytes.

A page that is zeroed or copied passes the cluster's link and the memory of the frame's home socket. Dirty
data stays in the cluster's last-level cache until that is full; from then on each new dirty page pushes an
old one out over the write link. The servers are first come, first served with a service time that is known on
arrival, so their queues need no events (`tests/hardware/test_memory.py` compares with a queue that has them).

A single line that is read from DRAM waits for its turn on the channel and then for its bank, which needs a
full row cycle for each line of a random stream. Memory gets slower long before its buses are full, because
the banks fill up first.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sim.engine import ThreadBody
from sim.engine.units import LINE_BYTES, PAGE_BYTES, PS_PER_S
from sim.errors import ModelError

if TYPE_CHECKING:
    from collections.abc import Callable

    from sim.hardware.cpu import Cpu
    from sim.hardware.spec import Dram, MachineSpec

ZERO = "zero"
COPY = "copy"


class BandwidthServer:
    """A link or a memory that moves one request's bytes after another's."""

    __slots__ = ("_free_at", "_ps_per_page")

    def __init__(self, bytes_per_second: int) -> None:
        self._ps_per_page = PAGE_BYTES * PS_PER_S // bytes_per_second
        self._free_at = 0

    def move_page(self, now: int) -> int:
        """Queue 4 KiB at time *now*; returns the ps until they have passed."""
        start = self._free_at if self._free_at > now else now
        self._free_at = start + self._ps_per_page
        return self._free_at - now


class Channels:
    """The banks and buses of one socket's memory."""

    __slots__ = ("_bank_cycle", "_banks", "_bus_free", "_draw", "_free", "_per_line")

    def __init__(self, spec: Dram, draw: Callable[[], float]) -> None:
        self._bank_cycle = spec.bank_cycle
        self._banks = spec.banks
        self._per_line = LINE_BYTES * PS_PER_S // spec.channel_bandwidth
        self._free = [0] * (spec.channels * spec.banks)
        self._bus_free = [0] * spec.channels
        self._draw = draw

    def read_line(self, now: int) -> int:
        """Queue a read of a random line at time *now*; returns how long it waits for others."""
        bank = int(self._draw() * len(self._free))
        channel = bank // self._banks
        turn = max(now, self._bus_free[channel])
        self._bus_free[channel] = turn + self._per_line
        start = max(turn, self._free[bank])
        self._free[bank] = start + self._bank_cycle
        return start - now


class MemorySystem:
    """The machine's links, sockets and, where the machine file knows them, DRAM channels."""

    __slots__ = (
        "_channels",
        "_clear",
        "_copy",
        "_dirty",
        "_llc_pages",
        "_local",
        "_read",
        "_sockets",
        "_write",
    )

    def __init__(self, spec: MachineSpec, draw: Callable[[], float]) -> None:
        memory, topology = spec.memory, spec.topology
        clusters = topology.sockets * topology.clusters_per_socket
        self._read = [BandwidthServer(memory.cluster_read) for _ in range(clusters)]
        self._write = [BandwidthServer(memory.cluster_write) for _ in range(clusters)]
        self._sockets = [BandwidthServer(memory.socket_bandwidth) for _ in range(topology.sockets)]
        self._dirty = [0] * clusters
        self._llc_pages = memory.llc // PAGE_BYTES
        self._clear = memory.clear_page.at(spec.clock)
        self._copy = memory.copy_page.at(spec.clock)
        self._local = memory.local
        dram = memory.dram
        self._channels = [Channels(dram, draw) for _ in range(topology.sockets)] if dram else []

    def read_line(self, socket: int, now: int) -> int:
        """The latency of a load that misses all caches, from memory of the core's own *socket*.

        Raises `ModelError` on a machine whose DRAM channels are not described.
        """
        if not self._channels:
            raise ModelError("this machine's file does not describe its DRAM channels (memory.dram)")
        return self._local + self._channels[socket].read_line(now)

    def clear_page(self, cpu: Cpu, home: int, activity: str = ZERO) -> ThreadBody:
        """Zero a 4 KiB page whose frame lies on socket *home*."""
        if cpu.pending:
            yield cpu.take_pending()  # servers are asked in the order of time
        cpu.work(self._stream(cpu, home, self._clear), activity)

    def copy_page(self, cpu: Cpu, home: int, activity: str = COPY) -> ThreadBody:
        """Copy a 4 KiB page into a frame on socket *home*."""
        if cpu.pending:
            yield cpu.take_pending()
        cpu.work(self._stream(cpu, home, self._copy), activity)

    def _stream(self, cpu: Cpu, home: int, alone: int) -> int:
        """Time to fill one page: the core's own speed, or the slowest server on the way."""
        now = cpu.engine._now
        cost = max(alone, self._read[cpu.cluster].move_page(now), self._sockets[home].move_page(now))
        self._dirty[cpu.cluster] += 1
        if self._dirty[cpu.cluster] > self._llc_pages:
            cost = max(cost, self._write[cpu.cluster].move_page(now), self._sockets[home].move_page(now))
        return cost
