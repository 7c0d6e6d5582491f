"""A cache line is a server: one access at a time, and where the last owner sits decides what it costs.

States (MESI seen from outside): *owner* holds the line exclusively while *sharers* is 0; otherwise *sharers*
is the bit set of cpus with a copy. A write takes the line from the owner or invalidates the farthest sharer;
a read that misses adds a sharer. An access that finds the line busy queues; the machine's `LineOrder` decides
who is next. An access takes effect when the line is granted and is paid for afterwards:

    cpu A  write |===== transfer =====|
    cpu B        ^ queues             |===== transfer =====|
                                      ^ granted: B's write is done in program order from here on

The threads of one core share its caches. Between them a line does not travel (`sibling`), and against others
they count as one holder: a write takes nothing away from the writer's own core. They share the buffers of
misses, too: where one waits for a line, the other's access is no further request (`joins`). It is served
right after the first one:

    cpu A   ^ queues        |===== transfer =====|
    sibling       ^ joins                        |= rmw =|

On a machine with a `probe` share the request first travels to the owner, which goes on using the line:

    cpu A  write |= transfer =|rmw|rmw|
    cpu B        ^ queues     |-probe-|== rest of the transfer ==|
                                      ^ granted

Sources: the costs are the machine file's; the server model and AMD's home rule are in docs/model.md.
"""

from __future__ import annotations

from collections import deque
from typing import ClassVar, Final

from sim.engine import PARKED, Activity, Steps
from sim.hardware.cpu import Cpu
from sim.hardware.fabric import Fabric

LINE: Final = Activity("cache line")

MEMORY: Final = -1
"""Owner of a line that no cache holds."""

# What most lines never have: they share these, which stay empty, until they need their own.
_NO_COPIES: Final[dict[int, int]] = {}
_NOBODY: Final[deque[tuple[Cpu, int]]] = deque()
_NO_QUEUES: Final[dict[int, deque[tuple[Cpu, int]]]] = {}
_NO_MISSES: Final[dict[int, list[tuple[Cpu, int]]]] = {}
_NO_WATCHERS: Final[dict[Cpu, object]] = {}

_PREFETCH: Final = 0
_READ: Final = 1
_WRITE: Final = 2  # a write of kind _WRITE + n is followed by n more


class CacheLine:
    """One line, or the *lines* adjacent lines of one object that are always used together.

    *home* is the socket whose memory holds it. All methods that are generators are used with `yield from` by
    the thread on *cpu* and charge the time to *activity*.
    """

    __slots__ = (
        "_burst",
        "_granting",
        "_joined",
        "_lands_at",
        "_misses",
        "_prefetching",
        "_probe_arrives",
        "_probed",
        "_run",
        "_waiting",
        "_waiting_in",
        "_watchers",
        "busy_until",
        "fabric",
        "home",
        "name",
        "owner",
        "sharers",
    )

    stalls: ClassVar[bool] = True
    """Who waits for it executes nothing meanwhile (`Cpu.spins`)."""

    def __init__(self, fabric: Fabric, name: str, home: int, *, owner: int = MEMORY, lines: int = 1) -> None:
        self.fabric = fabric
        self.name = name
        self.home = home
        self.owner = owner
        self.sharers = 0
        self.busy_until = 0
        self._burst = (lines - 1) * fabric.adjacent
        self._granting = False
        self._lands_at = _NO_COPIES  # cluster -> when its first copy is there
        self._joined = _NOBODY
        self._misses = (
            _NO_MISSES  # 2 * core, + 1 for writing -> whose miss is under way, and who has joined it
        )
        self._waiting = _NOBODY
        self._waiting_in = _NO_QUEUES
        self._watchers = _NO_WATCHERS
        self._run = 0
        self._prefetching = 0  # bit set of the cpus whose prefetch waits for its turn
        self._probe_arrives = 0
        self._probed: tuple[Cpu, int, int] | None = None  # whose request is on its way, its kind, the rest

    def __repr__(self) -> str:
        return f"line {self.name}"

    # -- accesses -------------------------------------------------------------------------------------------

    def swap(self, cpu: Cpu, activity: Activity = LINE) -> Steps[None]:
        """A compare-and-swap: a write of a word that no lock guards. Whether it takes place is decided by
        what the caller finds there when this returns."""
        return self.write(cpu, activity)

    def write(self, cpu: Cpu, activity: Activity = LINE, *, again: int = 0) -> Steps[None]:
        """A store or atomic read-modify-write: returns when the line is *cpu*'s alone.

        *again* further RMWs follow at once, before anyone else can get the line.
        """
        if pending := cpu.pending:  # `take_pending`, without the call: no other lines run as often
            cpu.pending = 0
            yield pending
        # `_must_queue` is not called where nothing can be in the way.
        in_the_way = self._granting or self.fabric.request or self.busy_until > cpu.engine._now
        if in_the_way and self._must_queue(cpu):
            yield from self._queue(cpu, _WRITE + again, activity)
        else:
            cost = self._take(cpu.id) + again * self.fabric.rmw
            self.busy_until = cpu.engine._now + cost
            cpu.pay(cost, activity)
            if self._watchers:
                self._disturb(cpu, cost)

    def write_again(self, cpu: Cpu, activity: Activity) -> None:
        """One RMW more, right behind a `write` of *cpu* that has just returned: nobody comes between."""
        self.busy_until += self.fabric.rmw
        cpu.stall(self.fabric.rmw, activity)

    def store(self, cpu: Cpu, activity: Activity = LINE) -> Steps[None]:
        """A plain store: like `write`, but on a line that is *cpu*'s alone it costs no more than a hit."""
        exclusive = self.exclusive_to(cpu)
        if exclusive and (pending := cpu.pending):
            cpu.pending = 0
            yield pending
            exclusive = self.exclusive_to(cpu)
        if exclusive:
            cpu.pay(self.fabric.hit, activity)
        else:
            yield from self.write(cpu, activity)

    def read(self, cpu: Cpu, activity: Activity = LINE) -> Steps[None]:
        """A load. A copy that the cpu already holds costs a hit and waits for nobody."""
        if pending := cpu.pending:
            cpu.pending = 0
            yield pending
        sharers = self.sharers
        if cpu.bit & sharers if sharers else self.owner == cpu.id:
            cpu.pay(self.fabric.hit, activity)
        elif self._must_queue(cpu):
            yield from self._queue(cpu, _READ, activity)
        else:
            latency, occupancy = self._share(cpu.id)
            self.busy_until = cpu.engine._now + occupancy
            cpu.pay(latency, activity)

    def read_to_write(self, cpu: Cpu, activity: Activity) -> Steps[bool]:
        """A load by *cpu*, which writes the line next; value: whether that write is a request of its own, so
        that others may come in between. On a `migratory` machine it is not: the line is here for writing."""
        if self.fabric.migratory:
            yield from self.write(cpu, activity)
            return False
        yield from self.read(cpu, activity)
        return True

    def came_along(self, cpu: Cpu, activity: Activity, *, write: bool) -> bool:
        """Try a load or store by *cpu* that left together with one to the line next to it, which is over.

        Where the line is free it has come in the same burst. Value: whether it was; else nothing is done.
        """
        if self._must_queue(cpu):
            return False
        if write:
            self._take(cpu.id)
        else:
            self._share(cpu.id)
        cpu.stall(self.fabric.adjacent, activity)
        self.busy_until = cpu.now
        if write and self._watchers:
            self._disturb(cpu, self.fabric.adjacent)
        return True

    def held_by(self, cpu: Cpu) -> bool:
        """Whether *cpu* has a valid copy."""
        return bool(cpu.bit & self.sharers) or (self.owner == cpu.id and not self.sharers)

    def exclusive_to(self, cpu: Cpu) -> bool:
        """Whether *cpu* is the only holder and nobody takes the line yet: it may write without asking."""
        if self.owner != cpu.id or self.sharers:
            return False
        if self.fabric.request:
            return self._probed is None or cpu.engine._now < self._probe_arrives
        return not self._granting

    def prefetch_write(self, cpu: Cpu) -> Steps[None]:
        """Ask for ownership without waiting for it (PREFETCHW); a request under way is not repeated.

        A load or store before it is served joins it: one miss of a core is one request (`_queue`).
        """
        if cpu.pending:
            yield cpu.take_pending()
        if self.owner == cpu.id and not self.sharers:
            return
        if self._must_queue(cpu):
            if not self._prefetching & cpu.bit:
                self._prefetching |= cpu.bit
                self._enqueue(cpu, _PREFETCH)
        else:
            self.busy_until = cpu.engine._now + self._take(cpu.id)

    def serialize(self, cpu: Cpu, activity: Activity) -> Steps[None]:
        """A serializing instruction after `prefetch_write`: on machines where it does (`prefetch_ordered`),
        it waits until the line is here."""
        if not self.fabric.prefetch_ordered:
            return
        if self._prefetching & cpu.bit and cpu.pending:
            yield cpu.take_pending()
        if self._prefetching & cpu.bit:
            yield from self._queue(cpu, _WRITE, activity)
        elif self.owner == cpu.id and (rest := self.busy_until - cpu.now) > 0:
            cpu.stall(rest, activity)

    def take_at_once(self, cpu: Cpu, at: int) -> int | None:
        """A `write` that begins at time *at*, before which nothing else happens; value: what it costs.

        The caller pays. None where it would have to wait.
        """
        if self._granting or self.busy_until > at or (self.fabric.request and not self.exclusive_to(cpu)):
            return None
        cost = self._take(cpu.id)
        self.busy_until = at + cost
        return cost

    def take_between(self, cpu: Cpu, at: int) -> int:
        """An atomic instruction that begins at time *at*, in code that does nothing else for others to see
        meanwhile; value: what it costs, waiting for the access before it included. The caller pays."""
        waits = max(0, self.busy_until - at)
        cost = waits + self._take(cpu.id)
        self.busy_until = at + cost
        return cost

    def read_in_handler(self, cpu: Cpu) -> int:
        """A load by an interrupt handler on *cpu*, which begins now; value: what it costs, waiting included.

        The handler pays. It waits for the access under way and goes before those who queue.
        """
        if self.held_by(cpu):
            return self.fabric.hit
        now = self.fabric.engine._now
        waits = max(0, self.busy_until - now)
        latency, occupancy = self._share(cpu.id, queued=waits > 0, waits=waits)
        self.busy_until = now + waits + occupancy
        return waits + latency

    def turn_of_handler(self, had_it: int) -> bool:
        """Whether an interrupt handler that wants the line is next to have it. It is not as long as cpu
        *had_it* has it and others want it; each time that it has gone on, any of them may be."""
        waiting = len(self._waiting) + sum(map(len, self._waiting_in.values()))
        waiting += self._probed is not None
        if waiting and self.owner == had_it:
            return False
        return not waiting or self.fabric.uniform() * (waiting + 1) < 1

    def fetch_back(self, cpu: Cpu) -> None:
        """*cpu*, which polls the line, takes a copy as soon as the accesses under way are over. It waits
        anyway; who wants the line next waits for that, too."""
        now = self.fabric.engine._now
        waits = max(0, self.busy_until - now)
        _, occupancy = self._share(cpu.id, queued=True, waits=waits)
        self.busy_until = now + waits + occupancy

    # -- who spins on a copy --------------------------------------------------------------------------------

    def watch(self, cpu: Cpu, what: object) -> None:
        """*cpu*, which waits for *what*, spins on its copy from now on, until `unwatch`.

        Whoever writes to the line takes the copy away: then *cpu* is poked, at its next look, to fetch
        another.
        """
        if self._watchers is _NO_WATCHERS:
            self._watchers = {}
        self._watchers[cpu] = what

    def unwatch(self, cpu: Cpu) -> None:
        """*cpu* does not spin on it any more."""
        del self._watchers[cpu]

    def _disturb(self, writer: Cpu, cost: int) -> None:
        """*writer* has the line from now on, for *cost*."""
        for cpu, what in self._watchers.items():
            if cpu is not writer:
                cpu.poke(what, cost + self.fabric.next_look())

    def describe_wait(self) -> str:
        owner = f"cpu {self.fabric.seats[self.owner].number}" if self.owner >= 0 else "no cache"
        return f"{self!r} (owned by {owner})"

    def _must_queue(self, cpu: Cpu) -> bool:
        """Whether the access has to wait: for the line, or where there is one, for its own probe."""
        if self.busy_until > cpu.engine._now:
            return True
        if self.fabric.request:
            return not self.exclusive_to(cpu)
        return self._granting

    # -- who is next ----------------------------------------------------------------------------------------

    def _queue(self, cpu: Cpu, kind: int, activity: Activity) -> Steps[None]:
        if self._prefetching & cpu.bit:
            self._join_prefetch(cpu, kind)
        else:
            self._enqueue(cpu, kind)
        since = cpu.begin_wait(self)
        yield PARKED
        cpu.end_wait(since, activity, cpu.pending)

    def _enqueue(self, cpu: Cpu, kind: int) -> None:
        if self.fabric.joins and self._joins(cpu, kind):
            return
        if self.fabric.rule == "cluster-first":
            if self._waiting_in is _NO_QUEUES:
                self._waiting_in = {}
            queue = self._waiting_in.get(cpu.cluster)
            if queue is None:
                self._waiting_in[cpu.cluster] = deque(((cpu, kind),))
            else:
                queue.append((cpu, kind))
        else:
            if self._waiting is _NOBODY:
                self._waiting = deque()
            self._waiting.append((cpu, kind))
        if not self._granting:
            self._granting = True
            engine = self.fabric.engine
            engine.call_in(max(0, self.busy_until - engine._now), self._grant)

    def _joins(self, cpu: Cpu, kind: int) -> bool:
        """Whether a sibling's miss is under way that brings what this one needs; else it is one from now on.

        A miss for reading does not bring the line for a write.
        """
        writes = kind != _READ
        for miss in (2 * cpu.core + 1, 2 * cpu.core)[: 1 if writes else 2]:
            if (joined := self._misses.get(miss)) is not None:
                joined.append((cpu, kind))
                return True
        if self._misses is _NO_MISSES:
            self._misses = {}
        self._misses[2 * cpu.core + writes] = [(cpu, kind)]
        return False

    def _ends_miss(self, cpu: Cpu, kind: int) -> None:
        """The line is granted to *cpu*; if it has asked for its core, those who have joined are next."""
        miss = 2 * cpu.core + (kind != _READ)
        joined = self._misses.get(miss)
        if joined is not None and joined[0][0] is cpu:
            del self._misses[miss]
            if len(joined) > 1:
                if self._joined is _NOBODY:
                    self._joined = deque()
                self._joined.extend(joined[1:])

    def _join_prefetch(self, cpu: Cpu, kind: int) -> None:
        """What *cpu* does is done when its prefetch, which waits for its turn, is served."""
        self._prefetching &= ~cpu.bit
        joined = cpu, max(kind, _WRITE)
        if self._probed and self._probed[0] is cpu:
            self._probed = *joined, self._probed[2]
            return
        asked, queues = (
            (cpu, _PREFETCH),
            (self._joined, self._waiting, self._waiting_in.get(cpu.cluster, _NOBODY)),
        )
        for queue in (*queues, self._misses.get(2 * cpu.core + 1, [])):
            if asked in queue:
                queue[queue.index(asked)] = joined

    def _wanted(self) -> bool:
        """Whether others wait for the line."""
        return bool(self._waiting or self._waiting_in or self._joined)

    def _next(self) -> tuple[Cpu, int]:
        """Take the waiter who gets the line now out of the queue."""
        fabric = self.fabric
        if self._joined:
            return self._joined.popleft()
        if fabric.rule == "fifo":
            return self._waiting.popleft()
        if fabric.rule == "random":
            self._waiting.rotate(-int(fabric.uniform() * len(self._waiting)))
            return self._waiting.popleft()
        waiting = self._waiting_in
        here = fabric.cluster_of[self.owner] if self.owner >= 0 else -1
        if here in waiting and (self._run < fabric.streak or len(waiting) == 1):
            self._run += 1
        else:
            self._run = 0
            others = [cluster for cluster in waiting if cluster != here]
            here = others[int(fabric.uniform() * len(others))]
        queue = waiting[here]
        chosen = queue.popleft()
        if not queue:
            del waiting[here]
        return chosen

    def _grant(self) -> None:
        """The line is free: give it to the next waiter and come back when that access is over."""
        fabric, underway = self.fabric, 0
        if fabric.request:
            if self._probed is None or self.busy_until > fabric.engine._now:
                self._send_probe()
                return
            cpu, kind, underway = self._probed
            self._probed = None
        elif self.busy_until > fabric.engine._now:  # a handler's load came before
            fabric.engine.call_in(self.busy_until - fabric.engine._now, self._grant)
            return
        else:
            cpu, kind = self._next()
        if fabric.joins:
            self._ends_miss(cpu, kind)
        if kind == _READ:
            latency, occupancy = self._share(cpu.id, queued=True)
        else:
            latency = occupancy = self._take(cpu.id)
            if kind > _WRITE:
                latency = occupancy = latency + (kind - _WRITE) * fabric.rmw
        if underway:
            latency, occupancy = max(0, latency - underway), max(0, occupancy - underway)
        engine = fabric.engine
        self.busy_until = engine._now + occupancy
        if kind != _READ and self._watchers:
            self._disturb(cpu, latency)
        if self._waiting or self._waiting_in or self._joined:
            engine.call_in(occupancy, self._grant)
        else:
            self._granting = False
            self._run = 0
        if kind == _PREFETCH:
            self._prefetching &= ~cpu.bit
        else:
            cpu.grant(latency)

    def _send_probe(self) -> None:
        """The next waiter's request goes to the owner; if it is there already, the owner finishes first."""
        engine, now = self.fabric.engine, self.fabric.engine._now
        if self._probed is None:
            cpu, kind = self._next()
            underway = int(self.fabric.request * self.fabric.vary(self._distance(cpu.id)))
            self._probed = cpu, kind, underway
            self._probe_arrives = now + underway
            engine.call_in(underway, self._grant)
        else:
            engine.call_in(self.busy_until - now, self._grant)

    def _distance(self, cpu: int) -> int:
        """The mean cost of fetching the line from its owner, or from where its last one sits."""
        fabric, owner = self.fabric, self.owner
        if owner < 0 or self.sharers & fabric.core_mask[cpu]:
            return 0
        return fabric.between(cpu, owner)

    # -- what it costs --------------------------------------------------------------------------------------

    def _take(self, cpu: int) -> int:
        """Make *cpu* the only holder; returns what the transfer costs."""
        fabric = self.fabric
        owner, sharers = self.owner, self.sharers
        if sharers:
            others = sharers & ~fabric.core_mask[cpu]
            self.sharers = 0
            self.owner = cpu
            self._lands_at.clear()
            if not others:
                return fabric.rmw if sharers >> cpu & 1 else fabric.sibling
            if not others & ~fabric.cluster_mask[cpu]:
                return fabric.vary(fabric.same_cluster) + self._burst
            return self._outside(cpu, not others & ~fabric.socket_mask[cpu]) + self._burst
        if owner == cpu:
            return fabric.rmw
        self.owner = cpu
        if owner < 0:
            return fabric.dram[fabric.socket_of[cpu] != self.home] + self._burst
        if fabric.cluster_of[cpu] == fabric.cluster_of[owner]:
            if fabric.core_of[cpu] == fabric.core_of[owner]:
                return fabric.sibling
            return fabric.vary(fabric.same_cluster) + self._burst
        return self._from_owner(cpu, owner) + self._burst

    def _share(self, cpu: int, *, queued: bool = False, waits: int = 0) -> tuple[int, int]:
        """Give *cpu* a copy, *waits* ps from now; returns the load's latency and how long the line is busy.

        The request of a *queued* reader has travelled while it waited.
        """
        fabric = self.fabric
        owner, sharers = self.owner, self.sharers
        if not sharers:
            if owner == cpu:
                return fabric.hit, 0
            bit = fabric.bit_of[cpu]
            self.sharers = bit | fabric.bit_of[owner] if owner >= 0 else bit
            if owner < 0:
                cost = fabric.dram[fabric.socket_of[cpu] != self.home] + self._burst
            elif fabric.core_of[cpu] == fabric.core_of[owner]:
                cost = fabric.sibling
            elif fabric.cluster_of[cpu] == fabric.cluster_of[owner]:
                cost = fabric.vary(fabric.same_cluster) + self._burst
            else:
                cost = self._from_owner(cpu, owner) + self._burst
            return cost, cost
        self.sharers = sharers | fabric.bit_of[cpu]
        if self._lands_at is _NO_COPIES:
            self._lands_at = {}
        now = fabric.engine._now + waits
        cluster, inside = fabric.cluster_of[cpu], fabric.shared_read_inside
        if sharers & fabric.cluster_mask[cpu]:
            # The neighbour's copy may still be on its way.
            if sharers & fabric.core_mask[cpu]:
                return max(fabric.hit, self._lands_at.get(cluster, 0) - now), 0
            latency = 0 if queued and inside is not None else fabric.vary(fabric.same_cluster) + self._burst
            if inside is None:
                return max(latency, self._lands_at.get(cluster, 0) - now), 0
            self._lands_at[cluster] = max(now + latency, self._lands_at.get(cluster, now) + inside)
            return self._lands_at[cluster] - now, 0
        near = bool(sharers & fabric.socket_mask[cpu]) or fabric.socket_of[cpu] == self.home
        latency = max(self._outside(cpu, near) + self._burst, fabric.shared_read)
        self._lands_at[cluster] = now + latency
        return latency, fabric.shared_read

    def _from_owner(self, cpu: int, owner: int) -> int:
        """Cost of a transfer from *owner*'s cluster to another."""
        fabric = self.fabric
        here, there = fabric.socket_of[cpu], fabric.socket_of[owner]
        if here != there and self.home not in (here, there):
            return fabric.vary(fabric.via_home_contended if self._wanted() else fabric.via_home)
        return self._outside(cpu, here == there)

    def _outside(self, cpu: int, same_socket: bool) -> int:
        """Cost of a transfer from another cluster."""
        fabric = self.fabric
        if same_socket and not (fabric.home_aware and fabric.socket_of[cpu] != self.home):
            return fabric.vary(fabric.cross_cluster)
        return fabric.vary(fabric.cross_socket_contended if self._wanted() else fabric.cross_socket)
