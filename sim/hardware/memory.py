"""DRAM bandwidth: cores, links and nodes as servers of bytes.

The lines of a page that is written are read first (a store fetches its line for ownership) unless the machine
file says otherwise (`whole_lines`), and leave again when the cache needs the room. On its way a page passes

    node's memory | link between sockets, one direction | cluster's link | core       in: read; out: written
                    (only if the node is on another one)

Dirty data stays in the cluster's last-level cache until that is full; from then on each new dirty page pushes
an old one out over the write link. Where the machine file has `llc_pages` it is known which pages lie there:
one that does needs no memory, and one that does not takes another's place. The servers are first come, first
served with a service time that is known on arrival, so their queues need no events
(`tests/hardware/test_memory.py` compares with a queue that has them). What the machine file gives no
bandwidth for has no server. A page that the core filled a moment ago is still in its caches (`warm_pages`)
and passes none of them.

A single line that is read from DRAM waits for its turn on the channel and then for its bank, which needs a
full row cycle for each line of a random stream. Memory gets slower long before its buses are full, because
the banks fill up first.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sim.engine import Activity, Steps
from sim.engine.costs import at_clock
from sim.errors import ModelError
from sim.hardware.llc_pages import LlcPages
from sim.hardware.warm_pages import WarmPages
from sim.quantities import LINE_BYTES, PAGE_BYTES, PS_PER_S

if TYPE_CHECKING:
    from collections.abc import Callable

    from sim.hardware.cpu import Cpu
    from sim.hardware.spec import Dram, MachineSpec

ZERO: Final = Activity("zero")
COPY: Final = Activity("copy")

HUGE_PAGES: Final = 512
"""4 KiB pages in a huge page of 2 MiB."""


class BandwidthServers:
    """*count* links or memories that each move one request's bytes after another's."""

    __slots__ = ("_free_at", "_ps_per_page")

    def __init__(self, bytes_per_second: int, count: int) -> None:
        self._ps_per_page = PAGE_BYTES * PS_PER_S // bytes_per_second
        self._free_at = [0] * count

    def move(self, server: int, now: int, pages: int = 1) -> int:
        """Queue so many times 4 KiB at *server* at time *now*; returns the ps until they have passed."""
        free_at = self._free_at[server]
        free_at = (free_at if free_at > now else now) + pages * self._ps_per_page
        self._free_at[server] = free_at
        return free_at - now


class Channels:
    """The banks and buses of one node's memory: *count* channels."""

    __slots__ = ("_bank_cycle", "_banks", "_bus_free", "_draw", "_free", "_per_line")

    def __init__(self, spec: Dram, count: int, draw: Callable[[], float]) -> None:
        self._bank_cycle = spec.bank_cycle
        self._banks = spec.banks
        self._per_line = LINE_BYTES * PS_PER_S // spec.channel_bandwidth
        self._free = [0] * (count * spec.banks)
        self._bus_free = [0] * count
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
    """The machine's cores, links, nodes and, where the machine file knows them, DRAM channels.

    *node* is always one of the hardware's, as `Cpu.node` is.
    """

    __slots__ = (
        "_channels",
        "_clear",
        "_clear_in_huge",
        "_copy",
        "_core_read",
        "_core_write",
        "_dirty",
        "_latencies",
        "_links",
        "_llc",
        "_llc_clear",
        "_llc_pages",
        "_nodes",
        "_read",
        "_read_alone",
        "_socket_of_node",
        "_sockets",
        "_warm",
        "_warm_clear",
        "_whole_lines",
        "_write",
    )

    def __init__(self, spec: MachineSpec, draw: Callable[[], float]) -> None:
        memory, topology = spec.memory, spec.topology
        clusters, parts = topology.sockets * topology.clusters_per_socket, topology.nodes_per_socket
        self._core_read = _servers(memory.core_read, topology.cores)
        self._core_write = _servers(memory.core_write, topology.cores)
        self._read = BandwidthServers(memory.cluster_read, clusters)
        self._write = BandwidthServers(memory.cluster_write, clusters)
        self._nodes = BandwidthServers(memory.socket_bandwidth // parts, topology.nodes)
        self._sockets = topology.sockets
        self._links = _servers(memory.inter_socket, self._sockets**2)
        self._socket_of_node = [topology.socket_of_node(node) for node in range(topology.nodes)]
        self._dirty = [0] * clusters
        self._llc_pages = memory.llc // PAGE_BYTES
        cost = at_clock(memory, spec.clock)
        self._clear = cost.clear_page
        self._clear_in_huge = self._clear if cost.clear_huge is None else cost.clear_huge // HUGE_PAGES
        self._copy = cost.copy_page
        self._whole_lines: bool = memory.whole_lines
        self._read_alone = max(0, self._copy - self._clear)
        self._latencies = (memory.local, memory.local_other_node or memory.local, memory.remote)
        warm = memory.warm_pages
        self._warm = WarmPages(topology.cores, warm.size // PAGE_BYTES) if warm else None
        self._warm_clear = warm.clear.at(spec.clock) if warm else 0
        llc = memory.llc_pages
        self._llc = LlcPages(clusters, self._llc_pages, draw) if llc else None
        self._llc_clear = llc.clear.at(spec.clock) if llc else 0
        dram, nodes = memory.dram, self._socket_of_node
        self._channels = [Channels(dram, dram.channels // parts, draw) for _ in nodes] if dram else []

    def read_line(self, cpu: Cpu, node: int) -> int:
        """The latency of a load by *cpu* that misses all caches, from memory of *node*, asked for now.

        Raises `ModelError` on a machine whose DRAM channels are not described.
        """
        if not self._channels:
            raise ModelError("this machine's file does not describe its DRAM channels (memory.dram)")
        return self.latency(cpu, node) + self._channels[node].read_line(cpu.engine._now)

    def latency(self, cpu: Cpu, node: int) -> int:
        """The same where nobody else reads."""
        distance = 0 if node == cpu.node else 1 if self._socket_of_node[node] == cpu.socket else 2
        return self._latencies[distance]

    def clear_page(
        self, cpu: Cpu, node: int, frame: int | None = None, *, activity: Activity = ZERO
    ) -> Steps[None]:
        """Zero a 4 KiB page in *frame*, which lies on *node*. A page without a frame is in no cache."""
        if cpu.pending:
            yield cpu.take_pending()  # servers are asked in the order of time
        if self._warm is not None and frame is not None and self._warm.fill(cpu.core, frame):
            cpu.work(self._warm_clear, activity)
            return
        if frame is None:
            self._pass(cpu, 1)
        elif self._llc is not None and self._llc.holds(cpu.cluster, frame):
            self._llc.write(frame)
            cpu.work(self._llc_clear, activity)
            return
        cpu.stall(self._fill(cpu, node, self._clear, frame=frame), activity)

    def clear_huge_page(
        self, cpu: Cpu, node: int, activity: Activity = ZERO, *, pages: int = HUGE_PAGES, at_once: int = 1
    ) -> Steps[None]:
        """Zero 2 MiB, or so many *pages* of 4 KiB that lie side by side: *at_once* of them ask for bandwidth
        at a time, one part after another."""
        for _ in range(pages // at_once):
            if cpu.pending:
                yield cpu.take_pending()
            self._pass(cpu, at_once)
            cpu.stall(self._fill(cpu, node, at_once * self._clear_in_huge, at_once), activity)

    def read_page(self, cpu: Cpu, node: int, activity: Activity) -> Steps[None]:
        """Read a 4 KiB page whose frame lies on *node*, at the bandwidth that is left on the way."""
        if cpu.pending:
            yield cpu.take_pending()
        self._pass(cpu, 1)
        cpu.stall(self._fetch(cpu, node), activity)

    def copy_page(
        self,
        cpu: Cpu,
        node: int,
        frame: int | None = None,
        *,
        source: int | None = None,
        activity: Activity = COPY,
        pages: int = 1,
    ) -> Steps[None]:
        """Copy so many 4 KiB *pages* from frames on *source* (absent: the same node) into some on *node*; a
        single one into *frame*.

        What a core takes for a copy beyond zeroing is taken to be for its source.
        """
        if cpu.pending:
            yield cpu.take_pending()
        self._pass(cpu, 2 * pages if frame is None else 1)
        read = self._fetch(cpu, node if source is None else source, pages)
        if self._warm is not None and frame is not None and self._warm.fill(cpu.core, frame):
            cpu.stall(max(read, self._read_alone, self._warm_clear), activity)
            return
        cpu.stall(max(read, self._fill(cpu, node, pages * self._copy, pages, frame=frame)), activity)

    def _pass(self, cpu: Cpu, pages: int) -> None:
        """So many *pages* go through the core's caches, and others leave them."""
        if self._warm is not None:
            self._warm.displace(cpu.core, pages)

    def _fill(self, cpu: Cpu, node: int, alone: int, pages: int = 1, *, frame: int | None = None) -> int:
        """Time to write *pages*, one of them in *frame*: the core's own speed *alone*, or the slowest server
        on the way."""
        cost = alone if self._whole_lines else max(alone, self._fetch(cpu, node, pages))
        if self._core_write is not None:
            cost = max(cost, self._core_write.move(cpu.core, cpu.engine._now, pages))
        too_many = self._push_out(cpu, pages, frame)
        if too_many > 0:
            cost = max(cost, self._evict(cpu, node, too_many))
        return cost

    def _push_out(self, cpu: Cpu, pages: int, frame: int | None) -> int:
        """*pages* that are written come into the last-level cache. Value: how many that were have to go."""
        if self._llc is not None:
            bring, cluster = self._llc.bring, cpu.cluster
            gone = sum(bring(cluster, None, written=True) for _ in range(1, pages))
            return gone + bring(cluster, frame, written=True)
        self._dirty[cpu.cluster] += pages
        return min(self._dirty[cpu.cluster] - self._llc_pages, pages)

    def _fetch(self, cpu: Cpu, node: int, pages: int = 1) -> int:
        """Time until the lines of *pages* on *node* are in the core."""
        now, there = cpu.engine._now, self._socket_of_node[node]
        cost = max(self._read.move(cpu.cluster, now, pages), self._nodes.move(node, now, pages))
        if self._core_read is not None:
            cost = max(cost, self._core_read.move(cpu.core, now, pages))
        if there != cpu.socket and self._links is not None:
            cost = max(cost, self._links.move(there * self._sockets + cpu.socket, now, pages))
        return cost

    def _evict(self, cpu: Cpu, node: int, pages: int = 1) -> int:
        """Time until so many pages have left the cluster's cache for *node*."""
        now, there = cpu.engine._now, self._socket_of_node[node]
        cost = max(self._write.move(cpu.cluster, now, pages), self._nodes.move(node, now, pages))
        if there != cpu.socket and self._links is not None:
            cost = max(cost, self._links.move(cpu.socket * self._sockets + there, now, pages))
        return cost


def _servers(bandwidth: int | None, count: int) -> BandwidthServers | None:
    """*count* servers of *bandwidth* each; none where it is not limited."""
    return BandwidthServers(bandwidth, count) if bandwidth else None
