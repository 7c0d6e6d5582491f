"""What a machine file says, typed. Every number about hardware in this package comes from such a file."""

from __future__ import annotations

from itertools import pairwise
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, PositiveInt, model_validator

from sim.engine.units import Bandwidth, Cost, CycleCost, Duration, Frequency, Size


class Spec(BaseModel):
    """Base of everything read from a file: frozen, and an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Topology(Spec):
    """Sockets hold clusters (cores that share an L3), clusters cores; cpus are numbered in that order.

    With two threads a core the first threads of all cores come first, then the second ones, as Linux numbers
    them; a sibling shares its core's cluster.
    """

    sockets: PositiveInt
    clusters_per_socket: PositiveInt
    cores_per_cluster: PositiveInt
    numa_nodes: PositiveInt
    """Nodes that the kernel sees; a guest without a virtual NUMA topology sees one."""
    threads_per_core: PositiveInt = 1
    interleaved: bool = False
    """The firmware numbers cores across sockets: neighbours in number sit on different sockets."""

    @property
    def cores(self) -> int:
        return self.sockets * self.clusters_per_socket * self.cores_per_cluster

    @property
    def cpus(self) -> int:
        return self.cores * self.threads_per_core

    def cluster_of(self, cpu: int) -> int:
        """The cluster of *cpu*, counted over the machine."""
        core = cpu % self.cores
        if self.interleaved:
            core = core % self.sockets * (self.cores // self.sockets) + core // self.sockets
        return core // self.cores_per_cluster

    def socket_of(self, cpu: int) -> int:
        return self.cluster_of(cpu) // self.clusters_per_socket

    def apic_id(self, cpu: int) -> int:
        """The number that interrupts use: socket, cluster, core, thread, each in a bit field of its own."""
        thread, core = divmod(cpu, self.cores)
        if self.interleaved:
            core = core % self.sockets * (self.cores // self.sockets) + core // self.sockets
        cluster, core = divmod(core, self.cores_per_cluster)
        socket, cluster = divmod(cluster, self.clusters_per_socket)
        number = socket
        for part, parts in (
            (cluster, self.clusters_per_socket),
            (core, self.cores_per_cluster),
            (thread, self.threads_per_core),
        ):
            number = number << (parts - 1).bit_length() | part
        return number


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

    @model_validator(mode="after")
    def _nearer_is_cheaper(self) -> Self:
        steps = ("same_cluster", "cross_cluster", "cross_socket")
        for near, far in pairwise(steps):
            if getattr(self, near).at(10**9) > getattr(self, far).at(10**9):
                raise ValueError(f"{far} must not be cheaper than {near}")
        if self.via_home is not None and self.via_home.at(10**9) < self.cross_socket.at(10**9):
            raise ValueError("via_home must not be cheaper than cross_socket")
        return self


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

    @model_validator(mode="after")
    def _remote_is_farther(self) -> Self:
        if self.remote < self.local:
            raise ValueError("remote memory must not be nearer than local memory")
        return self


class FirstLevel(Spec):
    """The small TLB in front of the large one."""

    entries: PositiveInt
    miss: Cost
    """A hit in the second level, on top of the access."""


class FarWalk(Spec):
    """Page walks whose last line is not in the core's own caches.

    The levels above it are: one of their lines serves hundreds of pages.
    """

    core_lines: PositiveInt
    """Page-table lines that a core's own caches keep beside its data."""
    cluster_lines: PositiveInt
    """Page-table lines that the cluster's last-level cache keeps."""
    llc: Cost
    """A walk whose last line is there."""
    cold: Cost
    """A walk whose last line is in DRAM."""

    @model_validator(mode="after")
    def _farther_is_dearer(self) -> Self:
        if self.cold.at(10**9) < self.llc.at(10**9):
            raise ValueError("far_walk: cold must not be cheaper than llc")
        return self


class Broadcast(Spec):
    """Invalidation of all TLBs of the machine by instruction (AMD's INVLPGB and TLBSYNC)."""

    issue: Cost
    """One INVLPGB; it is sent and not waited for."""
    pages_per_issue: PositiveInt
    """CPUID's invlpgb_count_max and one."""
    sync: Cost
    """TLBSYNC: until all cpus have done what this one has issued. The machine does one after the other."""


class Tlb(Spec):
    """Translation caches of one core, for 4 KiB pages."""

    entries: PositiveInt
    """Of the second level, or of the only one."""
    first_level: FirstLevel | None = None
    """Absent: every hit is free."""
    walk: Cost
    """A walk whose page-table lines are in the core's caches (of both dimensions, in a guest)."""
    far_walk: FarWalk | None = None
    """Absent: page-table lines never leave the core's caches."""
    invalidate_page: Cost
    """INVLPG."""
    invalidate_user: Cost | None = None
    """With page-table isolation: INVPCID of the page's entry under the user's tables, after INVLPG."""
    flush: Cost
    """A CR3 write that drops the non-global entries of the address space it loads."""
    flush_ceiling: PositiveInt = 33
    """Ranges longer than this many pages are flushed whole (x86 tlb_single_page_flush_ceiling)."""
    pcid: bool = False
    """Entries carry the number of their address space, so that one can be left and come back to."""
    switch: Cost | None = None
    """With *pcid*: a CR3 write that drops nothing."""
    broadcast: Broadcast | None = None
    """Absent: the machine has no such instruction, or its hypervisor does not offer it. It names address
    spaces by their number, so it is of use with *pcid* only."""

    @model_validator(mode="after")
    def _levels_and_tags(self) -> Self:
        if self.first_level is not None and self.first_level.entries > self.entries:
            raise ValueError("first_level.entries must not exceed entries")
        if self.far_walk is not None and self.far_walk.llc.at(10**9) < self.walk.at(10**9):
            raise ValueError("far_walk.llc must not be cheaper than walk")
        if self.pcid and self.switch is None:
            raise ValueError("`pcid: true` needs `switch`, the cost of a CR3 write that drops nothing")
        return self


class Interrupts(Spec):
    """Inter-processor interrupts."""

    send: Cost
    """Fixed cost of preparing a send."""
    icr_write: Cost
    """One write of the interrupt command register; in a guest, with its VM exit."""
    icr_target: Cost = CycleCost(0, 0)
    """Each target of a write on top: a hypervisor delivers to one virtual cpu after the other."""
    targets_per_icr: PositiveInt
    """Cpus that one write reaches, of one aligned group of so many APIC ids: 16 in x2APIC cluster mode, 1 in
    physical mode."""
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

    @property
    def cpus(self) -> int:
        return self.topology.cpus
