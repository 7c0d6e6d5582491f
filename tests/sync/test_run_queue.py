"""Several threads on a cpu: who runs when, and where does the time go?"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from machines import NS, RWSEM, small_machine

from sim.engine import Activity, InjectedDelays, Probe, Steps
from sim.engine.schedule import Shuffle
from sim.errors import Deadlock, ModelError
from sim.hardware import IDLE, INTERRUPT, Cpu, Machine
from sim.profile.counters import Counters
from sim.profile.locks import Locks
from sim.sync import (
    SCHED,
    Mutex,
    PercpuRwSem,
    QueueNodes,
    Rcu,
    RunQueues,
    RwSem,
    RwSemTuning,
    Scheduler,
    Sleeper,
    XaddRwSem,
)

US = 1000 * NS
MS = 1000 * US

SWITCH, WAKE, HALTED, SEND = 1 * US, 2 * US, 20 * US, 500 * NS
"""Of the small machine."""
OWN = 2 * NS
"""An access to a line of the scheduler that nobody else has touched; a sleep has two, a wake-up five."""
SLICE, TICK = 3 * MS, 4 * MS


class Bench:
    """Threads on the cpus of a machine, and when each has ended."""

    def __init__(
        self,
        online: int = 1,
        slice_: int = SLICE,
        tick: int = TICK,
        machine: Machine | None = None,
        **kinds: Any,
    ) -> None:
        times = {"kernel": {"slice": f"{slice_} ps", "tick": f"{tick} ps"}}
        self.machine = machine or small_machine(times, online=online, **kinds)
        self.cpus = self.machine.cpus
        self.scheduler = Scheduler(self.machine)
        self.ended: dict[str, int] = {}
        self.tasks = RunQueues(self.machine)

    def thread(self, cpu: int, name: str, body: Callable[[Cpu], Steps[None]], process: object = None) -> None:
        def whole(here: Cpu) -> Steps[None]:
            yield from body(here)
            self.ended[name] = here.now

        self.tasks.spawn(self.cpus[cpu], whole, name, process)

    def computing(self, time: int) -> Callable[[Cpu], Steps[None]]:
        return lambda cpu: self.tasks.compute(cpu, time, Activity("user"))

    def run(self) -> int:
        """Run until all have ended; every account must balance. Value: how long it took."""
        self.machine.engine.run()
        for cpu in self.cpus:
            cpu.close_account()
        return self.machine.engine._now


def test_is_a_thread_alone_on_its_cpu_undisturbed() -> None:
    bench = Bench()
    bench.thread(0, "a", bench.computing(50 * MS))
    assert bench.run() == 50 * MS
    assert {activity: time for activity, time in bench.cpus[0].spent.items() if time} == {"user": 50 * MS}


def test_do_two_threads_take_turns_at_the_ticks() -> None:
    """Each turn ends with the tick after the slice; the next one is shorter by the switch."""
    bench = Bench()
    bench.thread(0, "a", bench.computing(7 * MS))
    bench.thread(0, "b", bench.computing(4 * MS - SWITCH))
    # a 0..4 ms | switch | b all that it has, to 8 ms | its end: switch | a the other 3 ms
    assert bench.run() == 11 * MS + SWITCH
    assert bench.ended == {"b": 8 * MS, "a": 11 * MS + SWITCH}
    assert bench.cpus[0].spent[SCHED] == 2 * SWITCH


def test_do_short_slices_end_with_the_tick_after_them() -> None:
    """With HZ=1000 a slice of 2.8 ms lasts 3 ms, less the switch before it."""
    bench = Bench(slice_=2800 * US, tick=1 * MS)
    for name in "abc":
        bench.thread(0, name, bench.computing(9 * MS))
    # Turns: a 3 ms, then each 3 ms - 1 us. After three turns a has 2 us left, b and c 3 us.
    third = 27 * MS + SWITCH
    a = third + 2 * SWITCH
    b = a + SWITCH + 3 * SWITCH
    c = b + SWITCH + 3 * SWITCH
    assert bench.run() == c
    assert bench.ended == {"a": a, "b": b, "c": c}


def test_is_throughput_cpus_over_work_and_switch() -> None:
    """200 threads on 128 cpus compute for 60 slices: 72 cpus have two of them, 56 one."""
    many = {
        "topology": {"sockets": 2, "clusters_per_socket": 8, "cores_per_cluster": 8},
        "kernel": {"slice": "3 ms", "tick": "4 ms"},
    }
    bench = Bench(machine=small_machine(many))
    turn = 4 * MS - SWITCH
    work = 30 * turn
    for number in range(200):
        bench.thread(number % 128, f"{number}", bench.computing(work))
    # The first turn of a pair is longer by the switch that it does not need.
    assert bench.run() == 60 * 4 * MS - SWITCH
    for number in range(128):
        cpu = bench.cpus[number]
        pair = number < 72
        assert cpu.spent["user"] == work * (1 + pair)
        assert cpu.spent[SCHED] == pair * 59 * SWITCH
        if not pair:
            assert bench.ended[f"{number}"] == work


def test_do_threads_have_equal_shares_at_any_time() -> None:
    bench = Bench()
    done = dict.fromkeys("abcd", 0)

    def steady(name: str) -> Callable[[Cpu], Steps[None]]:
        def body(cpu: Cpu) -> Steps[None]:
            while cpu.now < 160 * MS:
                yield from bench.tasks.compute(cpu, 10 * US, Activity("user"))
                done[name] += 1

        return body

    for name in done:
        bench.thread(0, name, steady(name))
    bench.run()
    assert max(done.values()) - min(done.values()) <= 1.02 * TICK / (10 * US)
    assert sum(done.values()) * 10 * US == bench.cpus[0].spent["user"]


def test_does_a_woken_thread_wait_for_the_rest_of_the_slice() -> None:
    """A busy cpu is not taken from its thread: from wake-up to running it is the rest of the slice."""
    bench = Bench()
    came: list[int] = []

    def sleepy(cpu: Cpu) -> Steps[None]:
        yield from bench.scheduler.nap(cpu, 5 * MS, Activity("asleep"))
        came.append(cpu.now)

    bench.thread(0, "sleepy", sleepy)
    bench.thread(0, "busy", bench.computing(20 * MS))
    bench.run()
    # busy begins at 1 us; its first slice ends alone at 4 ms, the next one at 8 ms, with sleepy ready.
    assert came == [8 * MS + SEND + SWITCH]
    assert bench.cpus[0].spent[IDLE] == 0
    assert bench.cpus[0].spent["asleep"] == 0


def test_does_a_woken_thread_run_at_once_on_an_idle_cpu() -> None:
    bench = Bench()
    came: list[int] = []

    def sleepy(cpu: Cpu) -> Steps[None]:
        yield from bench.scheduler.nap(cpu, 50 * US, Activity("asleep"))
        came.append(cpu.now)
        yield from bench.scheduler.nap(cpu, 500 * US, Activity("asleep"))
        came.append(cpu.now)

    bench.thread(0, "a", sleepy)
    bench.thread(0, "b", bench.computing(5 * US))
    bench.run()
    first = 50 * US + SEND + WAKE
    assert came == [first, first + 500 * US + SEND + HALTED]


def test_do_two_sleepy_threads_do_twice_as_much() -> None:
    """Naps of one overlap with the work of the other."""

    def together(threads: int) -> int:
        bench = Bench()

        def blocking(cpu: Cpu) -> Steps[None]:
            for _ in range(40):
                yield from bench.tasks.compute(cpu, 10 * US, Activity("user"))
                yield from bench.scheduler.nap(cpu, 50 * US, Activity("asleep"))

        for number in range(threads):
            bench.thread(0, f"{number}", blocking)
        return bench.run()

    assert together(2) == pytest.approx(together(1), rel=0.05)


def test_is_idle_time_what_the_thread_that_ends_it_waited_for() -> None:
    bench = Bench()

    def napping(time: int, activity: Activity) -> Callable[[Cpu], Steps[None]]:
        return lambda cpu: bench.scheduler.nap(cpu, time, activity)

    bench.thread(0, "long", napping(90 * US, Activity("long")))
    bench.thread(0, "short", napping(40 * US, Activity("short")))
    bench.run()
    spent = bench.cpus[0].spent
    # long sleeps from 1 us on, short from 2 us: idle until its timer at 41 us, and the latency
    assert spent["short"] == 39 * US - 2 * OWN + WAKE
    # short ends after its wake-up, the cpu switches away and idles for the other
    assert spent["long"] == 90 * US - (41 * US + 2 * OWN + SEND + WAKE + SWITCH) + WAKE
    assert spent[IDLE] == 0
    assert spent[INTERRUPT] == 2 * SEND


def test_does_a_thread_in_the_kernel_keep_the_cpu() -> None:
    """Work that does not return to user mode goes on after the tick."""
    bench = Bench()

    def kernel(cpu: Cpu) -> Steps[None]:
        for _ in range(10):
            cpu.work(1 * MS, Activity("kernel"))
            yield cpu.take_pending()
        yield from bench.tasks.preempt(cpu)

    bench.thread(0, "kernel", kernel)
    bench.thread(0, "other", bench.computing(1 * MS))
    bench.run()
    assert bench.ended == {"other": 11 * MS + SWITCH, "kernel": 11 * MS + 2 * SWITCH}


def test_does_an_address_space_switch_only_between_processes() -> None:
    loads: list[tuple[int, object]] = []
    noted: list[int] = []

    def load(cpu: Cpu, process: object) -> Steps[None]:
        loads.append((cpu.now, process))
        return
        yield

    def note(cpu: Cpu) -> Steps[None]:
        noted.append(cpu.now)
        return
        yield

    bench = Bench()
    bench.tasks = RunQueues(bench.machine, switch_mm=load, note_switch=note)
    for name, process in (("a", "one"), ("b", "one"), ("c", "two")):
        bench.thread(0, name, bench.computing(6 * MS), process)
    bench.run()
    assert [process for _, process in loads] == ["one", "two", "one", "two"]
    assert [at for at, _ in loads[:2]] == [0, 8 * MS + SWITCH]
    assert len(noted) == 6  # three turns that end with a tick, three ends


def test_do_interrupts_lengthen_the_turn_that_they_hit() -> None:
    bench = Bench()
    bench.thread(0, "a", bench.computing(5 * MS))
    bench.thread(0, "b", bench.computing(1 * MS))
    bench.machine.engine.call_in(2 * MS, lambda: bench.cpus[0].interrupt(lambda _: (7 * US, lambda _: None)))
    bench.run()
    # a's 4 ms are over 7 us after the tick; its last millisecond comes after b's
    assert bench.ended == {"b": 5 * MS + 7 * US + SWITCH, "a": 6 * MS + 7 * US + 2 * SWITCH}


def test_does_a_cpu_wake_a_thread_of_its_own() -> None:
    bench = Bench()
    sleepers: list[Sleeper] = []

    def sleepy(cpu: Cpu) -> Steps[None]:
        sleepers.append(Sleeper(cpu, "the other"))
        yield from bench.scheduler.sleep(cpu, sleepers[0], Activity("asleep"))

    def waking(cpu: Cpu) -> Steps[None]:
        yield from bench.tasks.compute(cpu, 1 * MS, Activity("user"))
        bench.scheduler.wake(cpu, sleepers[0])
        yield from bench.tasks.compute(cpu, 1 * MS, Activity("user"))

    bench.thread(0, "sleepy", sleepy)
    bench.thread(0, "waking", waking)
    bench.run()
    assert bench.ended["sleepy"] == 2 * MS + SEND + 2 * SWITCH + 7 * OWN
    assert bench.cpus[0].spent["asleep"] == 0


def test_is_a_deadlock_told_with_names() -> None:
    bench = Bench()

    def forever(cpu: Cpu) -> Steps[None]:
        yield from bench.scheduler.sleep(cpu, Sleeper(cpu, "godot"), Activity("asleep"))

    bench.thread(0, "estragon", forever)
    bench.thread(0, "vladimir", forever)
    with pytest.raises(Deadlock) as caught:
        bench.run()
    assert "estragon waits for godot (asleep)" in str(caught.value)
    assert "vladimir waits for godot (asleep)" in str(caught.value)


def test_is_who_spins_in_vain_named_beside_who_waits_for_the_cpu() -> None:
    bench = Bench()
    lock = object()

    def spinning(cpu: Cpu) -> Steps[None]:
        yield from cpu.park(lock, Activity("spinning"))

    bench.thread(0, "spinner", spinning)
    bench.thread(0, "patient", bench.computing(1))
    with pytest.raises(Deadlock, match="patient waits for its turn on cpu 0, which runs spinner"):
        bench.run()


def test_must_the_machine_say_how_long_slices_are() -> None:
    with pytest.raises(ModelError, match="small has no"):
        RunQueues(small_machine())


# -- sleeping locks ------------------------------------------------------------------------------------------


def mutex(machine: Machine, scheduler: Scheduler) -> Any:
    lock = Mutex(QueueNodes(machine, "osq"), machine.line("lock"), scheduler, Activity("lock"))
    return lock.acquire, lock.release


def rwsem(machine: Machine, scheduler: Scheduler) -> Any:
    lines = machine.line("count"), machine.line("owner")
    nodes, tuning = QueueNodes(machine, "osq"), RwSemTuning.model_validate(RWSEM)
    lock = RwSem("lock", *lines, nodes, scheduler, Activity("lock"), tuning)
    return lock.write_lock, lock.write_unlock


def rwsem_both(machine: Machine, scheduler: Scheduler) -> Any:
    lines = machine.line("count"), machine.line("owner")
    nodes, tuning = QueueNodes(machine, "osq"), RwSemTuning.model_validate(RWSEM)
    lock = RwSem("lock", *lines, nodes, scheduler, Activity("lock"), tuning)
    return lock.read_lock, lock.read_unlock, lock.write_lock, lock.write_unlock


def xadd(machine: Machine, scheduler: Scheduler) -> Any:
    lock = XaddRwSem("lock", machine.line("lock"), QueueNodes(machine, "osq"), scheduler, Activity("lock"))
    return lock.write_lock, lock.write_unlock


def percpu(machine: Machine, scheduler: Scheduler) -> Any:
    lock = PercpuRwSem(
        machine, "lock", Rcu(machine, global_list=False, tick=1 * MS), scheduler, Activity("lock")
    )
    return lock.write_lock, lock.write_unlock


def percpu_both(machine: Machine, scheduler: Scheduler) -> Any:
    lock = PercpuRwSem(
        machine, "lock", Rcu(machine, global_list=False, tick=1 * MS), scheduler, Activity("lock")
    )
    return lock.read_lock, lock.read_unlock, lock.write_lock, lock.write_unlock


SLEEPING = [mutex, rwsem, rwsem_both, xadd, percpu, percpu_both]


@pytest.mark.parametrize("make", SLEEPING)
@pytest.mark.parametrize("waiter_on", [0, 1])
def test_does_who_wants_the_lock_of_a_sleeper_let_it_run(make: Callable[..., Any], waiter_on: int) -> None:
    """The owner sleeps with the lock; another thread of its cpu, or of the next one, wants the lock."""
    bench = Bench(online=2)
    verbs = make(bench.machine, bench.scheduler)
    take, release = verbs[:2]
    take_other, release_other = verbs[-2:]
    order: list[str] = []

    def owner(cpu: Cpu) -> Steps[None]:
        yield from take(cpu)
        order.append("owner")
        yield from bench.scheduler.nap(cpu, 10 * MS, Activity("asleep"))
        order.append("owner leaves")
        yield from release(cpu)

    def waiter(cpu: Cpu) -> Steps[None]:
        yield from bench.tasks.compute(cpu, 2 * MS, Activity("user"))
        yield from take_other(cpu)
        order.append("waiter")
        yield from release_other(cpu)

    bench.thread(0, "owner", owner)
    bench.thread(waiter_on, "waiter", waiter)
    bench.thread(1, "busy", bench.computing(30 * MS))
    bench.run()
    assert order in (["owner", "owner leaves", "waiter"], ["waiter", "owner", "owner leaves"])


@pytest.mark.parametrize("make", [mutex, rwsem, xadd])
def test_do_spinners_stop_when_the_owner_goes_to_sleep(make: Callable[..., Any]) -> None:
    """Its cpu does not idle then: it computes for somebody else."""
    bench = Bench(online=2)
    take, release = make(bench.machine, bench.scheduler)

    def owner(cpu: Cpu) -> Steps[None]:
        yield from take(cpu)
        cpu.work(2 * MS, Activity("inside"))
        yield from bench.scheduler.nap(cpu, 9 * MS, Activity("asleep"))
        yield from release(cpu)

    def waiter(cpu: Cpu) -> Steps[None]:
        cpu.work(1 * MS, Activity("user"))
        yield from take(cpu)
        yield from release(cpu)

    bench.thread(0, "owner", owner)
    bench.thread(0, "busy", bench.computing(20 * MS))
    bench.thread(1, "waiter", waiter)
    bench.thread(1, "other", bench.computing(3 * MS))
    bench.run()
    assert bench.machine.tally.sleeps == 2
    assert 5 * MS < bench.ended["other"] < 5 * MS + 10 * US
    assert 12 * MS < bench.ended["owner"] < bench.ended["waiter"]


@pytest.mark.parametrize("make", [mutex, rwsem, xadd])
def test_do_spinners_stop_when_the_owner_waits_for_its_turn(make: Callable[..., Any]) -> None:
    """The owner was woken but does not run: its cpu computes for somebody else."""
    bench = Bench(online=2)
    take, release = make(bench.machine, bench.scheduler)

    def owner(cpu: Cpu) -> Steps[None]:
        yield from take(cpu)
        yield from bench.scheduler.nap(cpu, 1 * MS, Activity("asleep"))
        yield from release(cpu)

    def waiter(cpu: Cpu) -> Steps[None]:
        cpu.work(2 * MS, Activity("user"))
        yield cpu.take_pending()
        yield from take(cpu)
        yield from release(cpu)

    bench.thread(0, "owner", owner)
    bench.thread(0, "busy", bench.computing(20 * MS))
    bench.thread(1, "waiter", waiter)
    bench.run()
    # Awake at 1 ms, the owner runs from 4 ms on. The waiter sleeps meanwhile; it is not the lock's spinner.
    assert bench.machine.tally.sleeps == 2
    assert 4 * MS < bench.ended["owner"] < bench.ended["waiter"] < 4 * MS + 100 * US


@pytest.mark.parametrize("make", [mutex, rwsem, xadd])
def test_does_a_spinner_give_way_at_the_end_of_its_slice(make: Callable[..., Any]) -> None:
    """The owner runs for long. Who spins for it stops when others want its cpu, and sleeps."""
    bench = Bench(online=2)
    take, release = make(bench.machine, bench.scheduler)

    def owner(cpu: Cpu) -> Steps[None]:
        yield from take(cpu)
        for _ in range(10):
            cpu.work(3 * MS, Activity("inside"))
            yield cpu.take_pending()
        yield from release(cpu)

    def waiter(cpu: Cpu) -> Steps[None]:
        cpu.work(1 * MS, Activity("user"))
        yield cpu.take_pending()
        yield from take(cpu)
        yield from release(cpu)

    bench.thread(0, "owner", owner)
    bench.thread(1, "waiter", waiter)
    bench.thread(1, "other", bench.computing(5 * MS))
    bench.run()
    assert 9 * MS < bench.ended["other"] < 9 * MS + 10 * US
    assert 30 * MS < bench.ended["waiter"] < 30 * MS + 100 * US


# -- anything at all -----------------------------------------------------------------------------------------

SPAN = st.integers(1, 6 * MS) | st.integers(1, 20 * US)
STEP = st.one_of(
    st.tuples(st.just("compute"), SPAN),
    st.tuples(st.just("nap"), SPAN),
    st.tuples(st.just("call"), st.just(0)),
    st.tuples(st.sampled_from(["mutex", "write", "read", "xadd"]), SPAN | st.just(0)),
    st.tuples(st.sampled_from(["mutex asleep", "write asleep", "read asleep", "xadd asleep"]), SPAN),
)
PROGRAM = st.lists(STEP, min_size=1, max_size=6)
CORES = {"topology": {"sockets": 1, "clusters_per_socket": 1, "cores_per_cluster": 2, "threads_per_core": 2}}


class Charges(Probe):
    """What each cpu was charged, as told."""

    def __init__(self) -> None:
        self.sums: dict[int, int] = {}

    def charge(self, cpu: Any, activity: str, cost: int) -> None:
        self.sums[cpu.id] = self.sums.get(cpu.id, 0) + cost


@settings(max_examples=150, deadline=None)
@given(
    programs=st.lists(PROGRAM, min_size=1, max_size=7),
    online=st.integers(1, 3),
    seed=st.integers(0, 3),
    ties=st.sampled_from(["fifo", "shuffle", "priority", InjectedDelays(Shuffle, chance=0.3, up_to=3 * US)]),
    listening=st.booleans(),
    turn=st.integers(0, 20 * MS),
)
def test_does_every_account_balance(
    programs: list[list[tuple[str, int]]], online: int, seed: int, ties: Any, listening: bool, turn: int
) -> None:
    """Whatever threads do: nobody is lost, locks exclude, and each picosecond of a cpu is charged once."""
    charges = Charges()
    listeners: list[Probe] = [charges, Locks(), Counters()] if listening else []
    bench = Bench(online=min(online, len(programs)), seed=seed, ties=ties, listeners=listeners)
    machine, scheduler = bench.machine, bench.scheduler
    acquire, release = mutex(machine, scheduler)
    read, unread, write, unwrite = rwsem_both(machine, scheduler)
    down, up = xadd(machine, scheduler)
    verbs = {
        "mutex": (acquire, release),
        "write": (write, unwrite),
        "read": (read, unread),
        "xadd": (down, up),
    }
    holders = {"mutex": 0, "write": 0, "read": 0, "xadd": 0}
    computed = 0

    def body(program: list[tuple[str, int]]) -> Callable[[Cpu], Steps[None]]:
        def steps(cpu: Cpu) -> Steps[None]:
            for what, time in program:
                name = what.split()[0]
                if name == "compute":
                    yield from bench.tasks.compute(cpu, time, Activity("user"))
                elif name == "nap":
                    yield from scheduler.nap(cpu, time, Activity("asleep"))
                elif name == "call":
                    others = [other for other in bench.cpus if other is not cpu]
                    round_ = yield from machine.interrupts.start(cpu, others, lambda _: 3 * US)
                    yield from machine.interrupts.finish(round_)
                else:
                    yield from verbs[name][0](cpu)
                    holders[name] += 1
                    assert name == "read" or holders[name] == 1
                    assert not (holders["read"] and holders["write"])
                    if what.endswith("asleep"):
                        yield from scheduler.nap(cpu, time, Activity("asleep"))
                    else:
                        cpu.work(time, Activity("inside"))
                        yield cpu.take_pending()
                    holders[name] -= 1
                    yield from verbs[name][1](cpu)
                yield from bench.tasks.preempt(cpu)

        return steps

    if listening:
        machine.engine.probe.run_begins(bench.cpus)
    machine.engine.call_in(turn, lambda: [cpu.turn_page() for cpu in bench.cpus] and None)
    for number, program in enumerate(programs):
        bench.thread(number % len(bench.cpus), f"thread {number}", body(program))
        computed += sum(time for what, time in program if what == "compute")
    elapsed = bench.run()
    assert len(bench.ended) == len(programs)
    spent = [{**page} for cpu in bench.cpus for page in (*cpu.pages, cpu.spent)]
    assert sum(page.get("user", 0) for page in spent) == computed
    assert sum(sum(page.values()) for page in spent) == elapsed * len(bench.cpus)
    if listening:
        assert set(charges.sums.values()) == {elapsed}
        machine.engine.probe.run_ends()


@settings(max_examples=40, deadline=None)
@given(programs=st.lists(st.lists(SPAN, min_size=1, max_size=4), min_size=4, max_size=9))
def test_do_accounts_balance_beside_siblings(programs: list[list[int]]) -> None:
    """A sibling makes work longer, also the pieces that end with a slice."""
    times = {"kernel": {"slice": "3 ms", "tick": "4 ms"}}
    topology = {**CORES["topology"], "smt_slowdown": 1.5}
    bench = Bench(machine=small_machine({**times, "topology": topology}))

    def body(program: list[int]) -> Callable[[Cpu], Steps[None]]:
        def steps(cpu: Cpu) -> Steps[None]:
            for time in program:
                yield from bench.tasks.compute(cpu, time, Activity("user"))
                yield from bench.scheduler.nap(cpu, time, Activity("asleep"))

        return steps

    for number, program in enumerate(programs):
        bench.thread(number % 4, f"thread {number}", body(program))
    bench.run()
    assert len(bench.ended) == len(programs)


class _Mm:
    """An address space that notes who borrows it, and takes *time* for that."""

    def __init__(self, time: int) -> None:
        self.time = time
        self.seen: list[tuple[str, int]] = []

    def borrow(self, cpu: Cpu) -> Steps[None]:
        yield self.time
        cpu.charge(self.time, SCHED)
        self.seen.append(("borrow", cpu.engine._now))

    def give_back(self, cpu: Cpu) -> Steps[None]:
        yield self.time
        cpu.charge(self.time, SCHED)
        self.seen.append(("give back", cpu.engine._now))


@pytest.mark.parametrize("nap", [50 * US, 4 * US])
def test_does_a_cpu_borrow_only_when_it_idles(nap: int) -> None:
    """Two threads nap, one after the other: only the second leaves the cpu idle. The first that wakes gives
    back, also where that is while the cpu still borrows."""
    bench, mm = Bench(), _Mm(5 * US)
    bench.cpus[0].active_mm = mm

    def napping(cpu: Cpu) -> Steps[None]:
        yield from bench.scheduler.nap(cpu, nap, Activity("asleep"))

    bench.thread(0, "a", napping)
    bench.thread(0, "b", napping)
    bench.run()
    kinds = [kind for kind, _ in mm.seen]
    assert kinds == ["borrow", "give back"] * (len(kinds) // 2)
    assert kinds
    first = mm.seen[0][1]
    assert 2 * SWITCH + mm.time <= first <= 2 * (SWITCH + SEND) + mm.time + 8 * OWN
