"""What a machine file says, typed. Every number about hardware in this package comes from such a file."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Final, Literal, Self

from pydantic import Field, NonNegativeInt, PositiveInt, model_validator

from sim.errors import RuleError
from sim.hardware.mitigations import Mitigation, in_force, slower_code
from sim.hardware.topology import Seat, Topology
from sim.quantities import (
    Bandwidth,
    Cost,
    CycleCost,
    Duration,
    Frequency,
    Size,
    Spec,
    format_duration,
)

FLAT_CPUS: Final = 8
"""Cpus that the bits of a logical xAPIC destination can name."""
XAPIC_IDS: Final = 255
"""APIC ids that xAPIC can name; the last that 8 bits hold is the broadcast."""


class LineOrder(Spec):
    """In which order waiters get a contended cache line.

    `fifo` and `random` are what they say. `cluster-first` hands the line to waiters of the cluster that has
    it, at most *streak* times in a row, then to a random other cluster: a probe from outside takes a while to
    arrive, and requests from inside are served until it does.
    """

    rule: Literal["fifo", "random", "cluster-first"]
    """`fifo`, `random`, or `cluster-first`: waiters of the cluster that has the line before others."""
    streak: PositiveInt = 1
    """With `cluster-first`: grants inside the cluster before a random other cluster gets the line."""


class Coherence(Spec):
    """What a cache line costs, as seen by one access."""

    hit: Cost
    """A load of a line the cpu holds."""
    rmw: Cost
    """A locked read-modify-write of a line the cpu owns."""
    sibling: Cost | None = None
    """A transfer between two threads of one core: the line stays in the caches that they share. Absent: as
    `rmw`, the access itself."""
    same_cluster: Cost
    """A transfer from another core of the same cluster."""
    cross_cluster: Cost
    """A transfer from another cluster of the same socket."""
    cross_socket: Cost
    """A transfer from another socket. Must be given; never used on a machine with one socket."""
    home_aware: bool
    """AMD's rule: a transfer between clusters of one socket costs `cross_socket` unless that socket is the
    line's home."""
    via_home: Cost | None = None
    """A transfer between two sockets of which neither is the line's home, which the request has to visit.
    Absent: as `cross_socket`, which is all that two sockets can have."""
    contended: float = Field(default=1, ge=1)
    """How many times longer a transfer between sockets takes while others wait for the line: their probes
    meet at its home."""
    probe: float = Field(default=0, ge=0, lt=1)
    """Share of a transfer that passes until the request reaches the owner. Until then the owner's own
    read-modify-writes go on; 0 hands the line over at once."""
    prefetch_ordered: bool = False
    """A serializing instruction, such as the IRET that ends a fault, waits for a line that was prefetched for
    writing. Absent: nothing waits for it."""
    migratory: bool = False
    """A load of a line that another core has written takes it over for writing, so that a write right behind
    is no request of its own. Absent: the load gets a copy."""
    siblings_join: bool = True
    """Where one thread of a core waits for a line, another's access to it joins that miss and is served right
    after it: they share the core's buffers for misses. False: each waits for its turn."""
    spin_turn: Cost | None = None
    """A turn of the loop of who spins on a copy of a line: a load, a test and a PAUSE. The load that misses
    once the copy has been taken away is half a turn late in the mean. Absent: it is not late."""
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
    """Who gets a contended line next."""


class Dram(Spec):
    """The channels of one socket, for lines read from all over: each is in some bank of some channel."""

    channels: PositiveInt
    """Memory channels of the socket."""
    channel_bandwidth: Bandwidth
    """Peak bandwidth of one channel."""
    banks: PositiveInt
    """Banks of a channel that work at the same time."""
    bank_cycle: Duration
    """Time a bank is busy with one line: open its row, read, close it (tRC)."""


class CoreCache(Spec):
    """The caches that a core has for itself. Lines that drop out of them stay in the last-level cache of its
    cluster, as long as that holds them."""

    size: Size
    """What they hold (L2)."""
    miss: Cost
    """A load or store that the last-level cache serves."""


class WarmPages(Spec):
    """Pages that a core has filled and that are still in its own caches."""

    size: Size
    """How much of them the caches keep beside the core's other data."""
    clear: Cost
    """Zero one 4 KiB page of them."""


class LlcPages(Spec):
    """Pages in the last-level cache of a cluster, which has room for `llc`."""

    clear: Cost
    """Zero one 4 KiB page of them."""


class Memory(Spec):
    """DRAM and the links to it. Bandwidths are shared; latencies are unloaded."""

    size_per_socket: Size
    """Memory of one socket; its nodes share it equally."""
    local: Duration
    """Latency of a load from the cpu's own node, unloaded."""
    remote: Duration
    """Latency of a load from another socket's memory, unloaded."""
    socket_bandwidth: Bandwidth
    """What the memory of one socket delivers, reads and writes together; its nodes share it equally."""
    cluster_read: Bandwidth
    """Link from the memory fabric into one cluster."""
    cluster_write: Bandwidth
    """Link from one cluster into the memory fabric."""
    llc: Size
    """Last-level cache of one cluster: dirty data up to this size is absorbed."""
    clear_page: Cost
    """Zero one 4 KiB page that is not in the cache, by one core alone."""
    copy_page: Cost
    """Copy one 4 KiB page that is not in the cache, by one core alone."""
    core_cache: CoreCache | None = None
    """Absent: what a core has used stays in its own caches until another core wants it."""
    warm_pages: WarmPages | None = None
    """Absent: a page is zeroed as one that is in no cache, however short ago it was in use."""
    llc_pages: LlcPages | None = None
    """Absent: a page that is not `warm_pages` is in no cache, and dirty data up to the size of the last-level
    cache is absorbed. With it a page lies in that cache or not (`sim.hardware.llc_pages`)."""
    dram: Dram | None = None
    """Absent: the machine's latency under load is not known."""
    local_other_node: Duration | None = None
    """Latency of the memory of another node of the same socket. Absent: as `local`."""
    core_read: Bandwidth | None = None
    """What one core alone can read, its siblings included. Absent: no less than the other limits."""
    core_write: Bandwidth | None = None
    """What one core alone can write, its siblings included. Absent: no less than the other limits."""
    whole_lines: bool = False
    """Whether a page that is written as a whole (REP STOSB, streaming stores) is not read before. Else its
    lines are, for ownership."""
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


class FirstLevel(Spec):
    """The small TLB in front of the large one."""

    entries: PositiveInt
    """Translations that it holds."""
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


class Broadcast(Spec):
    """Invalidation of all TLBs of the machine by instruction (AMD's INVLPGB and TLBSYNC)."""

    issue: Cost
    """One INVLPGB; it is sent and not waited for."""
    pages_per_issue: PositiveInt
    """CPUID's invlpgb_count_max and one."""
    sync: Cost
    """TLBSYNC: until all cpus have done what this one has issued. The machine does one after the other."""


class TlbSpec(Spec):
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
    flush_ceiling: PositiveInt
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
            raise RuleError(
                "first_level.entries must not exceed entries",
                {"first_level.entries": f"at most {self.entries}", "entries": "more"},
            )
        if self.pcid and self.switch is None:
            raise RuleError(
                "`pcid: true` needs `switch`, the cost of a CR3 write that drops nothing",
                {"switch": "a cost", "pcid": "false"},
            )
        return self


class PageTables(Spec):
    """The tables that translate user addresses."""

    levels: Literal[4, 5] = 4
    """4, or 5 where the cpu has them (LA57) and the kernel has switched them on."""


class Interrupts(Spec):
    """Inter-processor interrupts."""

    send: Cost
    """Fixed cost of preparing a send."""
    icr_write: Cost
    """One write of the interrupt command register; in a guest, with its VM exit."""
    virtual_icr_write: Cost | None = None
    """The same in a guest whose hypervisor lets the processor send interrupts between virtual cpus (Intel's
    IPI virtualization), so that there is no exit. Absent: the processor cannot."""
    icr_target: Cost = CycleCost(0, 0)
    """Each target of a write on top: a hypervisor delivers to one virtual cpu after the other."""
    mode: Literal["flat", "physical flat", "cluster x2apic", "physical x2apic", "paravirtual"]
    """How Linux addresses interrupts (`Switched APIC routing to` in its log), and so how many cpus one write
    reaches: all of up to 8 (flat), one (physical), or those of 16 aligned APIC ids (cluster). Or a guest asks
    its hypervisor."""
    targets_per_icr: PositiveInt | None = None
    """With `mode: paravirtual`: cpus that one call reaches, of so many aligned APIC ids."""
    deliver_same_socket: Cost
    """From the write of the register until the handler begins, on a cpu of the sender's socket."""
    deliver_cross_socket: Cost
    """The same, on a cpu of another socket."""
    carry: Cost = CycleCost(0, 0)
    """For how long an interrupt occupies what carries all of them: they pass one after the other. Absent: any
    number passes at a time."""
    handler: Cost
    """Entry and exit at the target."""
    ack_overlap: float = Field(ge=0, le=1)
    """Share of the acknowledgement reads that overlaps with waiting."""

    @model_validator(mode="after")
    def _a_hypervisor_says_how_many(self) -> Self:
        if (self.targets_per_icr is None) != (self.mode != "paravirtual"):
            raise RuleError(
                "`targets_per_icr` is for `mode: paravirtual`, which needs it",
                {"mode": "paravirtual", "targets_per_icr": "a number with that mode, else none"},
            )
        return self


class IdleState(Spec):
    """A state in which a cpu idles (cpuidle), deeper than that of which `wake_idle` speaks."""

    name: str
    """Of the state, such as `C6`."""
    exit: Cost
    """What leaving it takes, on top of `wake_idle`."""
    residency: Duration
    """It is chosen for idle periods that are expected to be as long as this, or longer (target residency)."""


class KernelSpec(Spec):
    """Costs of entering the kernel and of the scheduler."""

    syscall: Cost
    """Enter and leave the kernel by a system call, without `mitigations`."""
    exception: Cost
    """Enter and leave the kernel by a page fault, without `mitigations`."""
    mitigations: list[Mitigation] = Field(default_factory=list)
    """Defences against attacks on speculation that Linux takes on this processor by default."""
    mitigations_off: bool = False
    """The kernel is booted with `mitigations=off`: it takes none of them."""
    way_out: float = Field(default=0.5, ge=0, le=1)
    """Part of a system call, with its mitigations, that is the way out: interrupts are off, so that a tick
    is taken when user mode is reached."""
    preempt_rcu: bool | None = None
    """Whether the kernel is built with CONFIG_PREEMPT_RCU, if that is known. Absent: as the design says."""
    cgroup_levels: NonNegativeInt = 0
    """How many levels below the root of memory cgroups benchmarks run on this machine. 0: in the root, if
    the design does not say otherwise (`memcg.levels`)."""
    perf_mmap: Cost = CycleCost(0, 0)
    """What each new mapping takes longer, in plain code, because somebody records with perf
    (perf_event_mmap). Absent: nobody does."""
    plain_code: float = Field(default=1, ge=0.5)
    """How many cycles this core takes for plain code where the designs' costs say one: code of system calls
    that has branches, loads and stores in the caches, and neither locks nor exceptions."""
    context_switch: Cost
    """Code of a switch from one thread to another, or to the idle loop (schedule)."""
    before_switch: Cost = CycleCost(0, 0)
    """From a sleeper's last look at what it waits for until it has its run queue's lock, on top of
    `context_switch`. A wake-up that comes meanwhile keeps it running. Absent: no such time."""
    wake_idle: Cost
    """From the moment at which an idle cpu hears of a wake-up until the woken thread runs: it leaves the idle
    loop in its lightest state, and switches. Lines that come from the waker are not in it."""
    idle_states: list[IdleState] = Field(default_factory=list)
    """Deeper idle states, lightest first. Absent: cpus have none."""
    wake_halted: Cost | None = None
    """As `wake_idle`, for a cpu that has been idle for *halt_after*: the hypervisor has taken it away."""
    halt_after: Duration | None = None
    """Idle time after which a cpu is in that state. Absent: it never is."""
    wake_by: Literal["flag", "interrupt"] = "flag"
    """How an idle cpu hears of a wake-up: it watches a `flag` (MWAIT, polling), or is sent an `interrupt`,
    which costs the waker `icr_write` and `icr_target` (HLT). What the cpu does until it runs again is in
    `wake_idle`."""
    wake_spread: float = Field(ge=0, lt=1)
    """Half-width, relative, of what a wake-up takes: how deep the cpu idles and what the scheduler has to do
    first."""
    wake_send: Cost
    """Code of one wake-up, which the waker runs (try_to_wake_up). The lines that it needs are not in it."""
    wake_in_vain: Cost = CycleCost(0, 0)
    """The same for a thread that runs still, or has been woken and has yet to run. Absent: its lines are
    all."""
    create_thread: Cost
    """clone, scheduling in and setting the affinity of one thread, as its creator sees it."""
    timestamp: Cost
    """Read the time-stamp counter and store it."""
    poll: Cost
    """One turn of a user-space loop that polls a flag and yields the cpu."""
    slice: Duration | None = Field(default=None, gt=0)
    """Time that a thread has a cpu for while others wait for it (EEVDF's base slice). It ends with the first
    tick after that. Absent: the machine cannot have more threads than cpus."""
    tick: Duration | None = Field(default=None, gt=0)
    """Time between two timer ticks (1 / HZ), as *slice* needs it."""

    @model_validator(mode="after")
    def _mitigations_have_names(self) -> Self:
        names = [each.name for each in self.mitigations]
        for number, name in enumerate(names):
            if name in names[:number]:
                raise RuleError(
                    f"two mitigations have the name {name!r}",
                    {f"mitigations[{number}].name": "another name"},
                )
        return self

    @model_validator(mode="after")
    def _cpus_halt_after_a_time(self) -> Self:
        if (self.wake_halted is None) != (self.halt_after is None):
            raise RuleError(
                "`wake_halted` and `halt_after` go together",
                {"wake_halted": "a cost, with `halt_after`", "halt_after": "a time, with `wake_halted`"},
            )
        return self

    @model_validator(mode="after")
    def _deeper_states_are_worth_less_often(self) -> Self:
        for number, (lighter, deeper) in enumerate(pairwise(self.idle_states), 1):
            if deeper.residency < lighter.residency:
                raise RuleError(
                    "`idle_states` begins with the lightest, whose `residency` is the shortest",
                    {f"idle_states[{number}].residency": f"at least {format_duration(lighter.residency)}"},
                )
        return self

    @model_validator(mode="after")
    def _slices_end_with_ticks(self) -> Self:
        if (self.slice is None) != (self.tick is None):
            raise RuleError(
                "`slice` and `tick` go together",
                {"slice": "a time, with `tick`", "tick": "a time, with `slice`"},
            )
        return self


class TurboBin(Spec):
    """How fast cores are when few of a socket are busy."""

    cores: PositiveInt
    """Busy cores of the socket."""
    clock: Frequency
    """Frequency of each of them."""


class MachineSpec(Spec):
    """One machine: topology, clock and costs."""

    name: str
    """The file's name without `.yaml`."""
    title: str
    """One line for lists and figures."""
    clock: Frequency
    """Frequency of all cores when all of a socket are busy; costs in cycles follow it."""
    turbo: list[TurboBin] = Field(default_factory=list)
    """Faster clocks for fewer busy cores of a socket, fewest first; in between they fall evenly, down to
    `clock` with all cores. Absent: the clock is the same under every load."""
    guest: bool
    """The kernel runs in a virtual machine."""
    topology: Topology
    """Sockets, clusters, cores, hardware threads and NUMA nodes."""
    coherence: Coherence
    """What the accesses to a cache line cost."""
    memory: Memory
    """DRAM and the links to it."""
    tlb: TlbSpec
    """Translation caches and page walks."""
    page_tables: PageTables = PageTables()
    """How many levels page tables have."""
    interrupts: Interrupts
    """Inter-processor interrupts."""
    kernel: KernelSpec
    """Kernel entry, scheduling and time-keeping on this machine."""

    @model_validator(mode="after")
    def _turbo_falls_to_the_clock(self) -> Self:
        steps = self._turbo_steps()
        for number, (fewer, more) in enumerate(pairwise(steps)):
            if fewer[0] >= more[0] or fewer[1] < more[1]:
                last = number == len(self.turbo) - 1
                raise RuleError(
                    "`turbo` has more cores and slower clocks from one entry to the next, "
                    "and then all cores at `clock`",
                    {
                        f"turbo[{number}].cores": f"less than {more[0]}",
                        f"turbo[{number}].clock": f"at least {'`clock`' if last else 'the next one'}",
                    },
                )
        return self

    def _turbo_steps(self) -> list[tuple[int, int]]:
        """Busy cores of a socket and their clock, up to all of them."""
        topology = self.topology
        steps = [(step.cores, step.clock) for step in self.turbo]
        return [*steps, (topology.cores // topology.sockets, self.clock)]

    def under_load(self, seats: Iterable[Seat]) -> MachineSpec:
        """This machine at the clock that it has while *seats* are busy and the others idle.

        One clock for all of it, the mean over the busy cores, although each socket has its own.
        """
        if not self.turbo:
            return self
        busy = Counter(socket for socket, _ in {(seat.socket, seat.core) for seat in seats})
        steps = self._turbo_steps()
        total = sum(number * _on_the_line(number, steps) for number in busy.values())
        return self.model_copy(update={"clock": round(total / busy.total())})

    def with_memory(self, size: int | None) -> MachineSpec:
        """This machine with *size* bytes of memory, if that is given and less than it has."""
        each = self.memory.size_per_socket
        if size is None or size >= each * self.topology.sockets:
            return self
        less = self.memory.model_copy(update={"size_per_socket": size // self.topology.sockets})
        return self.model_copy(update={"memory": less})

    @property
    def mitigations_in_force(self) -> list[Mitigation]:
        """What the kernel takes: all where none has booted (`sim.hardware.boot`)."""
        kernel = self.kernel
        return in_force(kernel.mitigations, None, switched_off=kernel.mitigations_off)

    @property
    def kernel_clock(self) -> int:
        """The clock at which kernel code takes as long as it does with its mitigations at `clock`."""
        return round(self.clock / slower_code(self.mitigations_in_force))

    @property
    def plain_clock(self) -> int:
        """The same for plain code (`kernel.plain_code`)."""
        return round(self.kernel_clock / self.kernel.plain_code)

    @model_validator(mode="after")
    def _own_tables_are_of_a_mitigation(self) -> Self:
        if self.tlb.invalidate_user is None or any(each.own_tables for each in self.kernel.mitigations):
            return self
        raise RuleError(
            "`invalidate_user` is for page-table isolation, which is none of `kernel.mitigations`",
            {"tlb.invalidate_user": "nothing", "kernel.mitigations": "one with `own_tables: true`"},
        )

    @model_validator(mode="after")
    def _farther_is_dearer(self) -> Self:
        """At this clock: a distance may be written in cycles, in time or in both."""
        line, tlb = self.coherence, self.tlb
        transfers = {
            "coherence.same_cluster": line.same_cluster,
            "coherence.cross_cluster": line.cross_cluster,
            "coherence.cross_socket": line.cross_socket,
        }
        if line.sibling is not None:
            transfers = {"coherence.sibling": line.sibling} | transfers
        if line.via_home is not None:
            transfers["coherence.via_home"] = line.via_home
        walks = {"tlb.walk": tlb.walk}
        if tlb.far_walk is not None:
            walks |= {"tlb.far_walk.llc": tlb.far_walk.llc, "tlb.far_walk.cold": tlb.far_walk.cold}
        for near, far in (*pairwise(transfers.items()), *pairwise(walks.items())):
            low, high = near[1].at(self.clock), far[1].at(self.clock)
            if low > high:
                raise RuleError(
                    f"{far[0].split('.')[-1]} must not be cheaper than {near[0].split('.')[-1]}",
                    {far[0]: f"at least {format_duration(low)}", near[0]: f"at most {format_duration(high)}"},
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

    @model_validator(mode="after")
    def _apics_can_name_all_cpus(self) -> Self:
        topology, mode = self.topology, self.interrupts.mode
        x2apic = "`cluster x2apic` or `physical x2apic`"
        if mode == "flat" and self.cpus > FLAT_CPUS:
            allowed = f"`physical flat`, {x2apic} for {self.cpus} cpus"
            raise RuleError(
                f"a flat APIC names at most {FLAT_CPUS} cpus by their bits", {"interrupts.mode": allowed}
            )
        ids = 1 + max(map(topology.apic_id, range(self.cpus)))
        if mode == "physical flat" and ids > XAPIC_IDS:
            raise RuleError(
                f"APIC ids without x2APIC have 8 bits, and these cpus have {ids} ids",
                {"interrupts.mode": x2apic},
            )
        return self

    @property
    def cpus(self) -> int:
        return self.topology.cpus


def _on_the_line(number: int, steps: Sequence[tuple[int, int]]) -> float:
    """The value at *number* on the lines from each of *steps* to the next, level before the first one."""
    if number <= steps[0][0]:
        return float(steps[0][1])
    for (low, at_low), (high, at_high) in pairwise(steps):
        if low < number < high:
            return (at_high - at_low) / (high - low) * (number - low) + at_low
        if number == high:
            return float(at_high)
    return float(steps[-1][1])
