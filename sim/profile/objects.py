"""Locks and cache lines by name, and who uses them: the listener of `cortensim profile`.

It hears each charge of a thread, and knows from the other hooks what the thread is at:

    operation   munmap .......................................................
    lock        wait | hold mmap_lock .......................... | release
    lock                       wait | hold PTL ....... | release
    line               access | maple node |     | mm.map_count |
    charge      ^^^^   ^^^^^^   ^^^^            -> a part of each hold that it lies in, and the line's time

Single locks and lines are kept while they are among the `MOST_LOCKS` and `MOST_LINES` that count most (see
`Hottest`); all of a kind together are kept in full.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import TYPE_CHECKING, Final

from sim.engine.pages import Paged
from sim.hardware.cpu import INTERRUPT
from sim.profile.holders import Hold, Holders, Pieces, Root, Wait
from sim.profile.hottest import Hottest
from sim.profile.kinds import kind_of
from sim.profile.parts import ASLEEP, HAND_OVER, LOCK_WAIT, TRANSFER, WORK, part_of
from sim.profile.uses import LineUse, LockUse

if TYPE_CHECKING:
    from sim.engine import Engine
    from sim.engine.probe import CpuView, Distance, LineView, LockView, Mode

MOST_LOCKS: Final = 4096
MOST_LINES: Final = 4096
_MOST_STATES: Final = 1 << 16
"""Locks of which is known who had them last."""

HANDLER: Final = "(interrupt)"
"""The operation of what an interrupt's handler does."""
NO_OPERATION: Final = "(none)"

LockKey = tuple[str, str, str]
"""Name or kind, mode and activity of a lock."""


class Book:
    """What one page of a run says; see `sim.profile.object_tables` for what becomes of it."""

    def __init__(self) -> None:
        self.locks: Hottest[LockKey, LockUse] = Hottest(LockUse, _lock_weight, MOST_LOCKS)
        self.kinds: defaultdict[LockKey, LockUse] = defaultdict(LockUse)
        self.names: defaultdict[LockKey, set[str]] = defaultdict(set)
        """Kind -> its locks, `MOST_LOCKS` at most; of lines likewise."""
        self.lines: Hottest[str, LineUse] = Hottest(LineUse, _line_weight, MOST_LINES)
        self.line_kinds: defaultdict[str, LineUse] = defaultdict(LineUse)
        self.line_names: defaultdict[str, set[str]] = defaultdict(set)
        self.holds: Counter[tuple[str, str, str, str]] = Counter()
        """(kind, mode, part, what) -> time of holders."""
        self.edges: Counter[tuple[str, str, str]] = Counter()
        """(kind that is waited for, mode, kind that is held) -> time."""
        self.roots: Counter[tuple[str, str, str, str]] = Counter()
        """(kind that is waited for, mode, kind at the root, part) -> time."""
        self.chains: Counter[tuple[str, str]] = Counter()
        """(kind at the root, part) -> time of all waits that lie in no other."""
        self.spent: Counter[str] = Counter()
        """Activity -> time of all cpus."""
        self.in_waits: Counter[tuple[str, str]] = Counter()
        """(kind of the outermost lock that is waited for, activity) -> time charged."""
        self.span = 0
        self.cpus = 0

    def add(self, other: Book) -> None:
        """What *other* says, too."""
        for key, use in other.locks.values.items():
            self.locks[key].add(use)
        for key, use in other.kinds.items():
            self.kinds[key].add(use)
        for key, names in other.names.items():
            self.names[key] |= names
        for name, names in other.line_names.items():
            self.line_names[name] |= names
        for name, line in other.lines.values.items():
            self.lines[name].add(line)
        for name, line in other.line_kinds.items():
            self.line_kinds[name].add(line)
        self.locks.forgotten += other.locks.forgotten
        self.lines.forgotten += other.lines.forgotten
        self.holds.update(other.holds)
        self.edges.update(other.edges)
        self.roots.update(other.roots)
        self.chains.update(other.chains)
        self.spent.update(other.spent)
        self.in_waits.update(other.in_waits)
        self.span += other.span
        self.cpus = max(self.cpus, other.cpus)


class _Access:
    """An access to a line that is under way: what it was charged, and what transfers took of that."""

    __slots__ = ("activity", "cpu", "line", "moved", "time", "transfer", "write")

    def __init__(self, line: LineView, cpu: int, write: bool) -> None:
        self.line = line
        self.cpu = cpu
        self.write = write
        self.activity = ""
        self.time = 0
        self.transfer = 0
        self.moved = False


class _Seat:
    """What is known of one cpu."""

    __slots__ = ("accesses", "idle", "owing", "waited")

    def __init__(self) -> None:
        self.accesses: list[_Access] = []
        self.owing: list[_Access] = []
        self.idle = False
        self.waited = False


class _Thread:
    """What is known of one thread. *latest* are the uses of the lock of each activity that it had last."""

    __slots__ = ("holds", "latest", "operations", "waits")

    def __init__(self) -> None:
        self.operations: list[str] = []
        self.waits: list[Wait] = []
        self.holds: list[Hold] = []
        self.latest: dict[str, tuple[Holders, Mode]] = {}

    @property
    def operation(self) -> str:
        return self.operations[0] if self.operations else NO_OPERATION


class Objects(Paged[Book]):
    """Who uses which lock and which line; *total* is over all runs of a point."""

    def __init__(self) -> None:
        self.total = Book()
        self._forget()
        super().__init__()

    # -- pages ----------------------------------------------------------------------------------------------

    def attach(self, engine: Engine) -> None:
        self._forget()
        super().attach(engine)

    def blank(self) -> Book:
        return Book()

    def close_page(self) -> None:
        self.page.span = self.now - self.began

    def count(self, page: Book, cpus: int) -> None:
        page.cpus = cpus
        self.total.add(page)

    def _forget(self) -> None:
        self._locks: dict[LockView, Holders] = {}
        self._most_states = _MOST_STATES
        self._seats: defaultdict[int, _Seat] = defaultdict(_Seat)
        self._threads: defaultdict[object, _Thread] = defaultdict(_Thread)

    def _lock(self, lock: LockView) -> Holders:
        state = self._locks.get(lock)
        if state is None:
            if len(self._locks) >= self._most_states:
                self._locks = {each: state for each, state in self._locks.items() if not state.idle}
                self._most_states = max(_MOST_STATES, 2 * len(self._locks))
            state = self._locks[lock] = Holders(lock)
        return state

    def _uses(self, lock: Holders, mode: Mode) -> tuple[LockUse, LockUse]:
        """Where a lock and its kind are counted."""
        kind = lock.kind, mode, lock.activity
        names = self.page.names[kind]
        if len(names) < MOST_LOCKS:
            names.add(lock.name)
        return self.page.locks[lock.name, mode, lock.activity], self.page.kinds[kind]

    # -- operations and time --------------------------------------------------------------------------------

    def operation_begins(self, cpu: CpuView, operation: object) -> None:
        self._threads[cpu.current].operations.append(getattr(operation, "name", NO_OPERATION))

    def operation_ends(self, cpu: CpuView, operation: object) -> None:
        self._threads[cpu.current].operations.pop()

    def wait_over(self, cpu: CpuView) -> None:
        self._seats[cpu.id].waited = True

    def idle_begins(self, cpu: CpuView) -> None:
        self._seats[cpu.id].idle = True

    def idle_ends(self, cpu: CpuView) -> None:
        self._seats[cpu.id].idle = False

    def charge(self, cpu: CpuView, activity: str, cost: int) -> None:
        seat, thread, page = self._seats[cpu.id], self._threads[cpu.current], self.page
        page.spent[activity] += cost
        handler = activity == INTERRUPT.name
        waited = seat.waited and not handler
        if waited:
            seat.waited = False
        on_line, line = 0, ""
        if seat.owing:
            on_line, line = self._settle(seat, thread, activity, cost, handler)
        elif seat.accesses and not handler:
            access = seat.accesses[-1]
            access.time += cost
            access.activity = activity
            on_line, line = cost, access.line.name
        if thread.waits:
            page.in_waits[thread.waits[0].lock.kind, activity] += cost
        elif (latest := thread.latest.get(activity)) is not None:
            for use in self._uses(*latest):
                use.release += cost
        if not thread.holds or not cost:
            return
        pieces: list[tuple[str, str, int]] = []
        part = part_of(activity, on_line=on_line == cost, waited=waited, idle=seat.idle)
        if part == WORK and on_line:
            pieces.append((TRANSFER, kind_of(line), on_line))
            cost -= on_line
        pieces.append((part, kind_of(line) if part == TRANSFER else activity, cost))
        depth, end = len(thread.waits), None if handler else cpu.now
        for hold in thread.holds:
            if hold.depth < depth:
                continue  # it waits for another lock
            for part, what, time in pieces:
                hold.detail[part, what] += time
            kind = hold.lock.kind
            chain = [(Root(hold.operation, hold.mode, kind, part), time) for part, _, time in pieces]
            hold.lock.advance(hold, chain, end)

    # -- cache lines ----------------------------------------------------------------------------------------

    def line_access(self, line: LineView, cpu: CpuView, write: bool) -> None:
        self._seats[cpu.id].accesses.append(_Access(line, cpu.id, write))

    def line_accessed(self, line: LineView, cpu: CpuView, owed: int) -> None:
        seat = self._seats[cpu.id]
        access = seat.accesses.pop()
        if owed:
            access.time += owed
            seat.owing.append(access)
        elif access.time or access.moved:
            self._count_access(access, self._threads[cpu.current], access.activity, handler=False)

    def line_transfer(
        self, line: LineView, cpu: int, source: int, distance: Distance, cost: int, write: bool
    ) -> None:
        self.page.lines[line.name].transfers[distance] += 1
        self.page.line_kinds[kind_of(line.name)].transfers[distance] += 1
        accesses = self._seats[cpu].accesses
        if accesses and accesses[-1].line is line:
            accesses[-1].transfer += cost
            accesses[-1].moved = True

    def _settle(
        self, seat: _Seat, thread: _Thread, activity: str, cost: int, handler: bool
    ) -> tuple[int, str]:
        """The accesses that *cost* pays for. Value: what of it they take, and the dearest one's line."""
        for access in seat.owing:
            self._count_access(access, thread, activity, handler)
        dearest = max(seat.owing, key=lambda access: access.time)
        owed = sum(access.time for access in seat.owing)
        seat.owing.clear()
        return min(owed, cost), dearest.line.name

    def _count_access(self, access: _Access, thread: _Thread, activity: str, handler: bool) -> None:
        name, time = access.line.name, access.time
        user = HANDLER if handler else thread.operation, activity
        lock = ""
        if not handler:
            if thread.waits:
                lock = thread.waits[-1].lock.kind
            elif activity in thread.latest:
                lock = thread.latest[activity][0].kind
        names = self.page.line_names[kind_of(name)]
        if len(names) < MOST_LINES:
            names.add(name)
        for use in (self.page.lines[name], self.page.line_kinds[kind_of(name)]):
            if access.write:
                use.writes += 1
            else:
                use.reads += 1
            use.time += time
            use.queued += max(0, time - access.transfer)
            use.longest = max(use.longest, time)
            use.cpus |= 1 << access.cpu
            use.users[user] += time
            if lock:
                use.locks[lock] += time

    # -- locks ----------------------------------------------------------------------------------------------

    def lock_wait(self, lock: LockView, cpu: CpuView, mode: Mode) -> None:
        state = self._lock(lock)
        wait = Wait(state, mode, cpu.now)
        state.begin(wait)
        self._threads[cpu.current].waits.append(wait)

    def lock_acquired(self, lock: LockView, cpu: CpuView, mode: Mode) -> None:
        thread, now = self._threads[cpu.current], cpu.now
        wait = self._end_wait(thread, now)
        state = wait.lock
        contended = state.written_until > wait.began or (mode == "write" and state.read_until > wait.began)
        last, state.last = state.last, cpu
        for use in self._uses(state, mode):
            use.acquisitions += 1
            use.contended += contended
            if last is not None:
                use.hand_overs[distance_between(cpu, last)] += 1
        self._hold(thread, state, mode, now)

    def lock_missed(self, lock: LockView, cpu: CpuView, mode: Mode) -> None:
        wait = self._end_wait(self._threads[cpu.current], cpu.now)
        for use in self._uses(wait.lock, mode):
            use.missed += 1

    def lock_release(self, lock: LockView, cpu: CpuView, mode: Mode) -> None:
        thread, now, state = self._threads[cpu.current], cpu.now, self._lock(lock)
        hold = next(hold for hold in reversed(thread.holds) if hold.lock is state and hold.mode == mode)
        thread.holds.remove(hold)
        state.leave(hold, now)
        length = now - hold.since
        if rest := length - hold.detail.total():
            hold.detail[ASLEEP, ""] += rest
        uses = self._uses(state, mode)
        for use in uses:
            use.holds += 1
            use.hold += length
            use.hold_max = max(use.hold_max, length)
        for (part, what), time in hold.detail.items():
            for use in uses:
                use.parts[part] += time
            self.page.holds[state.kind, mode, part, what] += time
        if mode == "write":
            state.written_until = max(state.written_until, now)
        else:
            state.read_until = max(state.read_until, now)

    def lock_downgraded(self, lock: LockView, cpu: CpuView) -> None:
        self.lock_release(lock, cpu, "write")
        self._hold(self._threads[cpu.current], self._lock(lock), "read", cpu.now)

    def _hold(self, thread: _Thread, state: Holders, mode: Mode, now: int) -> None:
        hold = Hold(state, mode, thread.operation, now, len(thread.waits))
        thread.holds.append(hold)
        thread.latest[state.activity] = state, mode
        state.join(hold)

    def _end_wait(self, thread: _Thread, now: int) -> Wait:
        """The last wait of *thread* is over: count what it was made of."""
        wait = thread.waits.pop()
        state, mode, time = wait.lock, wait.mode, now - wait.began
        made_of, page, nested = state.end(wait, now), self.page, bool(thread.waits)
        uses = self._uses(state, mode)
        for use in uses:
            use.wait += time
            use.wait_max = max(use.wait_max, time)
            use.nested += time if nested else 0
        for root, part in made_of:
            page.roots[state.kind, mode, root.kind, root.part] += part
            if not nested:
                page.chains[root.kind, root.part] += part
            holder = root.operation if root.part != HAND_OVER or root.operation else HAND_OVER
            for use in uses:
                use.pairs[thread.operation, holder] += part
        for kind in {hold.lock.kind: None for hold in thread.holds} or [""]:
            page.edges[state.kind, mode, kind] += time
        self._wait_in_holds(thread, made_of, time, state.kind, now)
        return wait

    def _wait_in_holds(self, thread: _Thread, made_of: Pieces, time: int, kind: str, now: int) -> None:
        """The wait was a part of what *thread* did with the locks that it holds."""
        depth = len(thread.waits)
        for hold in thread.holds:
            if hold.depth == depth:
                hold.detail[LOCK_WAIT, kind] += time
                together: Counter[Root] = Counter()
                for root, part in made_of:
                    together[Root(hold.operation, hold.mode, root.kind, root.part)] += part
                hold.lock.advance(hold, list(together.items()), now)
            elif hold.depth > depth:  # taken in the wait, and kept
                hold.depth = depth


def distance_between(cpu: CpuView, other: CpuView) -> Distance:
    """How far *other* is from *cpu*."""
    if cpu.id == other.id:
        return "same cpu"
    if cpu.core == other.core:
        return "same core"
    if cpu.cluster == other.cluster:
        return "same cluster"
    return "same socket" if cpu.socket == other.socket else "other socket"


def _lock_weight(use: LockUse) -> int:
    return use.wait


def _line_weight(use: LineUse) -> int:
    return use.time
