"""What a machine file says, typed. Every number about hardware in this package comes from such a file."""

from __future__ import annotations

from itertools import pairwise
from typing import Literal, NamedTuple, Self

from pydantic import BaseModel, ConfigDict, Field, PositiveInt, model_validator

from sim.engine.units import Bandwidth, Cost, CycleCost, Duration, Frequency, Size, format_duration
from sim.errors import RuleError


class Spec(BaseModel):
    """Base of everything read from a file: frozen, and an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Seat(NamedTuple):
    """Where a cpu sits: its number on the machine, and its core, cluster, node and socket, each counted over
    the machine."""

    number: int
    core: int
    cluster: int
    node: int
    socket: int


class Topology(Spec):
    """Sockets hold clusters, clusters cores; cpus are numbered in that order.

    A cluster is the cores at the nearest distance from each other: those that share an L3, or a die of a
    socket whose L3 lies on several.

    With two threads a core the first threads of all cores come first, then the second ones, as Linux numbers
    them; a sibling shares its core's cluster.

    Memory belongs to nodes. The kernel sees `numa_nodes` of them: one a socket, several (AMD's NPS2 and NPS4,
    Intel's SNC), or, in a guest without a virtual NUMA topology, fewer than there are sockets. Then the
    machine under the guest has one a socket all the same.
    """

    sockets: PositiveInt
    clusters_per_socket: PositiveInt
    cores_per_cluster: PositiveInt
    numa_nodes: PositiveInt
    """Nodes that the kernel sees; a guest without a virtual NUMA topology sees one."""
    threads_per_core: PositiveInt = 1
    smt_slowdown: float | None = Field(default=None, ge=1)
    """How many times longer a thread's own work takes while its sibling works too; 1 is not at all. Each
    further sibling adds as much again. Needed where `threads_per_core` is more than 1."""
    interleaved: bool = False
    """The firmware numbers cores across sockets: neighbours in number sit on different sockets."""
    cores_per_socket: PositiveInt | None = None
    """What the source says of a socket, held against the clusters."""

    @model_validator(mode="after")
    def _adds_up(self) -> Self:
        clusters, size, said = self.clusters_per_socket, self.cores_per_cluster, self.cores_per_socket
        cores = clusters * size
        if said is not None and said != cores:
            fitting = {"cores_per_socket": str(cores)}
            for key, other in (("cores_per_cluster", clusters), ("clusters_per_socket", size)):
                fitting[key] = str(said // other) if said % other == 0 else f"a divisor of {said}"
            raise RuleError(
                f"the clusters of a socket hold {clusters} x {size} = {cores} cores, not {said}", fitting
            )
        if not self._shares_out(self.numa_nodes):
            fair = [str(nodes) for nodes in range(1, self.cores + 1) if self._shares_out(nodes)]
            raise RuleError(
                f"{self.sockets} x {clusters} x {size} cores cannot be shared out evenly to NUMA nodes",
                {"numa_nodes": ", ".join(fair)},
            )
        return self

    def _shares_out(self, nodes: int) -> bool:
        """Whether *nodes* get whole sockets each, or whole clusters of one, or a part of one cluster."""
        parts, rest = divmod(nodes, self.sockets)
        if rest or not parts:
            return self.sockets % nodes == 0
        clusters = self.clusters_per_socket
        return clusters % parts == 0 or (
            parts % clusters == 0 and clusters * self.cores_per_cluster % parts == 0
        )

    @model_validator(mode="after")
    def _siblings_have_a_price(self) -> Self:
        if self.threads_per_core > 1 and self.smt_slowdown is None:
            raise RuleError(
                "smt_slowdown is needed where threads_per_core is more than 1",
                {"smt_slowdown": "a number from 1", "threads_per_core": "1"},
            )
        return self

    @property
    def cores(self) -> int:
        return self.sockets * self.clusters_per_socket * self.cores_per_cluster

    @property
    def cpus(self) -> int:
        return self.cores * self.threads_per_core

    @property
    def nodes_per_socket(self) -> int:
        return max(1, self.numa_nodes // self.sockets)

    @property
    def nodes(self) -> int:
        """Nodes that the hardware has; a guest's kernel may see fewer."""
        return self.sockets * self.nodes_per_socket

    def core_of(self, cpu: int) -> int:
        """The core of *cpu*, counted socket by socket."""
        core = cpu % self.cores
        if self.interleaved:
            core = core % self.sockets * (self.cores // self.sockets) + core // self.sockets
        return core

    def cluster_of(self, cpu: int) -> int:
        """The cluster of *cpu*, counted over the machine."""
        return self.core_of(cpu) // self.cores_per_cluster

    def node_of(self, cpu: int) -> int:
        """The node of *cpu* in the hardware: those of a socket share its cores evenly."""
        return self.core_of(cpu) * self.nodes // self.cores

    def socket_of(self, cpu: int) -> int:
        return self.cluster_of(cpu) // self.clusters_per_socket

    def seat(self, cpu: int) -> Seat:
        """Where *cpu* sits."""
        return Seat(cpu, self.core_of(cpu), self.cluster_of(cpu), self.node_of(cpu), self.socket_of(cpu))

    def socket_of_node(self, node: int) -> int:
        return node // self.nodes_per_socket

    def visible_node(self, node: int) -> int:
        """What the kernel takes the hardware's *node* for."""
        return node * self.numa_nodes // self.nodes


class LineOrder(Spec):
    """In which order waiters get a contended cache line.

    `fifo` and `random` are what they say. `cluster-first` hands the line to waiters of the cluster that has
    it, at most *streak* times in a row, then to a random other cluster: a probe from outside takes a while to
    arrive, and requests from inside are served until it does.
    """

    rule: Literal["fifo", "random", "cluster-first"]
    streak: PositiveInt = 1


class Coherence(Spec):
    """What a cache line costs, as seen by one access."""

    hit: Cost
    """A load of a line the cpu holds."""
    rmw: Cost
    """A locked read-modify-write of a line the cpu owns."""
    same_cluster: Cost
    cross_cluster: Cost
    cross_socket: Cost
    home_aware: bool
    """AMD's rule: a transfer between clusters of one socket costs `cross_socket` unless that socket is the
    line's home."""
    via_home: Cost | None = None
    """A transfer between two sockets of which neither is the line's home, which the request has to visit.
    Absent: as `cross_socket`, which is all that two sockets can have."""
    probe: float = Field(default=0, ge=0, lt=1)
    """Share of a transfer that passes until the request reaches the owner. Until then the owner's own
    read-modify-writes go on; 0 hands the line over at once."""
    shared_read: Duration
    """Time a line is busy for each further reader from outside the cluster."""
    shared_read_inside: Duration | None = None
    """Time between two copies inside a cluster that has one, whose cache serves one reader after another.
    Absent: any number at once."""
    adjacent_line: Duration
    """Each further line of one object that is fetched in the same burst."""
    spread: float = Field(ge=0, lt=1)
    """Half-width, relative, of what transfers between caches cost: it depends on the pair of cores and on the
    slice that is the line's home."""
    order: LineOrder


class Dram(Spec):
    """The channels of one socket, for lines read from all over: each is in some bank of some channel."""

    channels: PositiveInt
    channel_bandwidth: Bandwidth
    banks: PositiveInt
    """Banks of a channel that work at the same time."""
    bank_cycle: Duration
    """Time a bank is busy with one line: open its row, read, close it (tRC)."""


class Memory(Spec):
    """DRAM and the links to it. Bandwidths are shared; latencies are unloaded."""

    size_per_socket: Size
    local: Duration
    remote: Duration
    socket_bandwidth: Bandwidth
    cluster_read: Bandwidth
    """Link from the memory fabric into one cluster."""
    cluster_write: Bandwidth
    llc: Size
    """Last-level cache of one cluster: dirty data up to this size is absorbed."""
    clear_page: Cost
    """Zero one 4 KiB page that is not in the cache, by one core alone."""
    copy_page: Cost
    dram: Dram | None = None
    """Absent: the machine's latency under load is not known."""
    local_other_node: Duration | None = None
    """Latency of the memory of another node of the same socket. Absent: as `local`."""
    core_read: Bandwidth | None = None
    """What one core alone can read, its siblings included. Absent: no less than the other limits."""
    core_write: Bandwidth | None = None
    """What one core alone can write, its siblings included. Absent: no less than the other limits."""
    inter_socket: Bandwidth | None = None
    """All links from one socket to another together, one direction. Absent: no less than the other limits."""
    clear_huge: Cost | None = None
    """Zero a 2 MiB page, by one core alone. Absent: as 512 times `clear_page`."""

    @model_validator(mode="after")
    def _remote_is_farther(self) -> Self:
        if self.remote < self.local:
            raise RuleError(
                "remote memory must not be nearer than local memory",
                {
                    "remote": f"at least {format_duration(self.local)}",
                    "local": f"at most {format_duration(self.remote)}",
                },
            )
        between = self.local_other_node
        if between is not None and not self.local <= between <= self.remote:
            low, high = format_duration(self.local), format_duration(self.remote)
            raise RuleError(
                "local_other_node must lie between local and remote",
                {"local_other_node": f"from {low} to {high}"},
            )
        return self


class Tlb(Spec):
    """Translation caches of one core, for 4 KiB pages."""

    entries: PositiveInt
    walk: Cost
    """A walk whose page-table lines are in the core's caches (of both dimensions, in a guest)."""
    invalidate_page: Cost
    """INVLPG."""
    flush: Cost
    """All non-global entries (CR3 write)."""
    flush_ceiling: PositiveInt = 33
    """Ranges longer than this many pages are flushed whole (x86 tlb_single_page_flush_ceiling)."""


class Interrupts(Spec):
    """Inter-processor interrupts."""

    send: Cost
    """Fixed cost of preparing a send."""
    icr_write: Cost
    """One write of the interrupt command register; in a guest, with its VM exit."""
    icr_target: Cost = CycleCost(0, 0)
    """Each target of a write on top: a hypervisor delivers to one virtual cpu after the other."""
    targets_per_icr: PositiveInt
    """16 in x2APIC cluster mode, 1 in physical mode."""
    deliver_same_socket: Cost
    deliver_cross_socket: Cost
    handler: Cost
    """Entry and exit at the target."""
    handler_lines: PositiveInt
    """Shared lines the handler pulls in for a queued call, the queue's own included."""
    ack_overlap: float = Field(ge=0, le=1)
    """Share of the acknowledgement reads that overlaps with waiting."""


class Kernel(Spec):
    """Costs of entering the kernel and of the scheduler, for the mitigations in force."""

    syscall: Cost
    exception: Cost
    context_switch: Cost
    wake_idle: Cost
    """From the waker's decision until the woken thread runs on a cpu that has just gone idle."""
    wake_halted: Cost
    """The same for one that has been idle for *halt_after*: a deep idle state, or a guest's cpu that the host
    has taken away."""
    halt_after: Duration
    wake_spread: float = Field(ge=0, lt=1)
    """Half-width, relative, of both: how deep the cpu idles and what the scheduler has to do first."""
    wake_send: Cost
    """What one wake-up costs the waker."""
    create_thread: Cost
    """clone, scheduling in and setting the affinity of one thread, as its creator sees it."""
    timestamp: Cost
    """Read the time-stamp counter and store it."""
    poll: Cost
    """One turn of a user-space loop that polls a flag and yields the cpu."""


class MachineSpec(Spec):
    """One machine: topology, clock and costs."""

    name: str
    title: str
    clock: Frequency
    guest: bool
    """The kernel runs in a virtual machine."""
    topology: Topology
    coherence: Coherence
    memory: Memory
    tlb: Tlb
    interrupts: Interrupts
    kernel: Kernel

    @model_validator(mode="after")
    def _farther_is_dearer(self) -> Self:
        """At this clock: a distance may be written in cycles, in time or in both."""
        steps = ["same_cluster", "cross_cluster", "cross_socket"]
        if self.coherence.via_home is not None:
            steps.append("via_home")
        for near, far in pairwise(steps):
            low, high = (getattr(self.coherence, step).at(self.clock) for step in (near, far))
            if low > high:
                raise RuleError(
                    f"{far} must not be cheaper than {near}",
                    {
                        f"coherence.{far}": f"at least {format_duration(low)}",
                        f"coherence.{near}": f"at most {format_duration(high)}",
                    },
                )
        return self

    @model_validator(mode="after")
    def _memory_belongs_to_nodes(self) -> Self:
        topology, dram = self.topology, self.memory.dram
        if topology.numa_nodes < topology.sockets and not self.guest:
            raise RuleError(
                f"{topology.numa_nodes} NUMA nodes for {topology.sockets} sockets: only a guest sees fewer "
                "nodes than sockets (NPS0 is not modelled)",
                {"topology.numa_nodes": f"at least {topology.sockets}", "guest": "true"},
            )
        if dram is not None and dram.channels % topology.nodes_per_socket:
            raise RuleError(
                f"the {dram.channels} channels of a socket cannot be dealt out to its "
                f"{topology.nodes_per_socket} nodes",
                {"memory.dram.channels": f"a multiple of {topology.nodes_per_socket}"},
            )
        return self

    @property
    def cpus(self) -> int:
        return self.topology.cpus
