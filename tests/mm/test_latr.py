"""When is a lazy flush over, and what may be stale until then?"""

from __future__ import annotations

from functools import partial

from hypothesis import given
from hypothesis import strategies as st
from machines import NS, Body, run, small_machine

from sim.engine import Activity, Steps
from sim.hardware import TLB_FLUSH, Cpu, Machine
from sim.mm import ContextTable, LazyFlush, SynchronousFlush

US = 1000 * NS
TICK = 10 * US
SEARCH, PUBLISH, SWEEP = 5 * NS, 7 * NS, 11 * NS


def latr(
    machine: Machine,
    active: set[int] | None = None,
    slots: int = 4,
    tick: int = TICK,
    *,
    as_coded: bool = False,
) -> LazyFlush:
    shootdown = SynchronousFlush(machine, machine.line("active cpu set"))
    costs = {"publish": PUBLISH, "search": SEARCH, "sweep": SWEEP}
    flush = LazyFlush(machine, shootdown, slots=slots, tick=tick, as_coded=as_coded, **costs)
    for cpu in machine.cpus:
        if active is None or cpu.id in active:
            flush.activate(cpu)
    return flush


def idle_until(end: int) -> Body:
    def body(cpu: Cpu) -> Steps[None]:
        cpu.work(end, Activity("user"))
        yield cpu.take_pending()

    return body


def nothing(_: Cpu) -> None:
    pass


def test_is_nothing_asked_of_a_cpu_that_has_left_the_space() -> None:
    """Cpu 2 loads another space: records are free without it, and it comes back with no entries."""
    machine = small_machine({"tlb": {"pcid": True, "switch": "50 ns"}}, online=3)
    flush, other = latr(machine, set()), latr(machine, set())
    contexts = ContextTable(machine, asids=1)
    for cpu in machine.cpus:
        contexts.activate(cpu, flush)
    freed: list[int] = []

    def leaves(cpu: Cpu) -> Steps[None]:
        cpu.tlb.fill(7, frame=70, writable=True)
        yield from contexts.switch(cpu, other)
        cpu.tlb.fill(7, frame=71, writable=True)
        cpu.work(400 * US, Activity("user"))
        yield cpu.take_pending()
        flush.settle()
        assert len(freed) == 1
        assert cpu.tlb.frames() == {7: (71, True)}  # neither swept nor recycled: another space's page
        yield from contexts.switch(cpu, flush)
        assert cpu.tlb.frames() == {}

    def unmaps(cpu: Cpu) -> Steps[None]:
        cpu.work(31 * US, Activity("user"))
        yield cpu.take_pending()
        yield from flush.flush_lazily(cpu, [(7, 70)], lambda _: freed.append(cpu.now))
        published = machine.engine._now
        # Of the next turn cpu 1 sweeps at tick 4 and cpu 2 would at tick 5.
        assert flush._records[cpu][0].free_at == 4 * TICK > published

    run(machine, {0: unmaps, 1: idle_until(500 * US), 2: leaves})


# -- the arithmetic against ticks ----------------------------------------------------------------------


def sweeps(cpus: int, tick: int, until: int) -> list[tuple[int, int]]:
    """Every timer tick as an event: (time, cpu whose turn it is)."""
    return [(number * tick, number % cpus) for number in range(1, until // tick + 1)]


@given(st.data(), st.integers(2, 9), st.sampled_from([1, 10, 999]))
def test_is_a_record_free_when_the_last_other_cpu_of_the_space_has_swept(
    data: st.DataObject, cpus: int, tick: int
) -> None:
    machine = small_machine(online=cpus)
    active = data.draw(st.sets(st.integers(0, cpus - 1), min_size=1))
    publisher = data.draw(st.sampled_from(sorted(active)))
    published = data.draw(st.integers(0, 5 * cpus * tick) | st.integers(0, 5 * cpus).map(lambda n: n * tick))
    flush = latr(machine, active, tick=tick)

    first_sweep = dict.fromkeys(active - {publisher}, 0)
    for when, cpu in reversed(sweeps(cpus, tick, published + 2 * cpus * tick)):
        if when > published and cpu in first_sweep:
            first_sweep[cpu] = when
    expected = max(first_sweep.values(), default=published)
    assert flush._swept_by_all(machine.cpus[publisher], published) == expected
    for other, when in first_sweep.items():
        assert flush.next_sweep(machine.cpus[other], published) == when


# -- what a flush does ---------------------------------------------------------------------------------


def test_does_a_flush_leave_the_other_cpus_alone_until_they_sweep() -> None:
    machine = small_machine(online=4)
    flush = latr(machine)
    for cpu in machine.cpus:
        cpu.tlb.fill(5, frame=50, writable=True)
        cpu.tlb.fill(6, frame=60, writable=True)
    seen: list[tuple[int, bool]] = []

    def publisher(cpu: Cpu) -> Steps[None]:
        yield from flush.flush_lazily(cpu, [(5, 50)], nothing)
        assert sorted(cpu.tlb.frames()) == [6]
        cpu.work(100 * US, Activity("user"))

    def looks(cpu: Cpu) -> Steps[None]:
        for _ in range(9):
            cpu.work(5 * US, Activity("user"))
            yield cpu.take_pending()
            flush.catch_up(cpu)
            seen.append((cpu.engine.now // US, 5 in cpu.tlb.frames()))
            assert 6 in cpu.tlb.frames()

    run(machine, {0: publisher, 2: looks})
    assert machine.tally.calls == 0
    assert [when for when, stale in seen if stale] == [5, 10, 15]  # cpu 2 sweeps at 20, 60, 100 us
    assert machine.cpus[2].spent[TLB_FLUSH] == SWEEP  # one cpu has published
    assert flush.is_pinned(5, 50)
    assert not flush.is_pinned(5, 60)
    assert not flush.is_pinned(6, 60)


def test_what_does_a_flush_cost() -> None:
    machine = small_machine(online=2)
    flush = latr(machine)
    run(machine, {0: lambda cpu: flush.flush_lazily(cpu, [(1, 1), (2, 2)], nothing)})
    assert machine.cpus[0].spent[TLB_FLUSH] == SEARCH + PUBLISH + (2 * 40 + 2) * NS  # 2 INVLPG, own line


def test_is_a_frame_released_only_when_all_others_have_swept() -> None:
    """4 cpus, a tick of 10 us: what is published at 8 us is swept by cpus 1, 2, 3 at 10, 20, 30 us."""
    released: list[tuple[int, int]] = []
    machine = small_machine(online=4)
    flush = latr(machine, slots=1)

    def note(frame: int, cpu: Cpu) -> None:
        released.append((frame, cpu.engine.now // US))

    def publisher(cpu: Cpu) -> Steps[None]:
        for frame in range(6):
            cpu.work(8 * US, Activity("user"))
            yield cpu.take_pending()
            machine.cpus[3].tlb.fill(frame, frame=frame, writable=True)
            yield from flush.flush_lazily(cpu, [(frame, frame)], partial(note, frame))
            stale = [page for page, entry in machine.cpus[3].tlb.frames().items() if page == entry.frame]
            assert all(flush.is_pinned(page, page) for page in stale)

    run(machine, {0: publisher, 3: idle_until(100 * US)})
    assert [frame for frame, _ in released] == [1, 2, 0, 4, 5]
    # Frames 1, 2, 4, 5 found the only record in use: an interrupt flushed them at once.
    assert machine.tally.calls == 4 * 3
    assert 30 <= dict(released)[0] < 40
    assert flush.is_pinned(3, 3)


def test_does_a_sweep_that_was_missed_come_with_the_next_kernel_entry() -> None:
    machine = small_machine(online=3)
    flush = latr(machine)
    machine.cpus[1].tlb.fill(9, frame=90, writable=True)

    def enters_late(cpu: Cpu) -> Steps[None]:
        cpu.work(95 * US, Activity("user"))
        yield cpu.take_pending()
        flush.catch_up(cpu)
        assert not cpu.tlb.frames()
        spent = cpu.spent[TLB_FLUSH]
        flush.catch_up(cpu)  # not due again before 100 us
        assert cpu.spent[TLB_FLUSH] == spent == SWEEP

    run(machine, {0: lambda cpu: flush.flush_lazily(cpu, [(9, 90)], nothing), 1: enters_late})


def test_does_loading_the_space_again_keep_the_records() -> None:
    machine = small_machine(online=2)
    flush = latr(machine)
    run(machine, {0: lambda cpu: flush.flush_lazily(cpu, [(9, 90)], nothing)})
    flush.activate(machine.cpus[0])
    assert flush.is_pinned(9, 90)


# -- any schedule --------------------------------------------------------------------------------------

steps = st.lists(
    st.tuples(st.integers(0, 12 * US), st.lists(st.integers(0, 7), max_size=3, unique=True)), max_size=10
)


@given(st.lists(steps, min_size=2, max_size=5), st.integers(1, 3))
def test_do_stale_translations_lead_to_pinned_frames_only(
    plans: list[list[tuple[int, list[int]]]], slots: int
) -> None:
    machine = small_machine(online=len(plans))
    flush = latr(machine, slots=slots)
    frames = iter(range(1_000_000))
    table: dict[int, int] = {page: next(frames) for page in range(8)}
    in_use = set(table.values())
    check = partial(_check_tlbs, machine, flush, table, in_use)

    def body(cpu: Cpu) -> Steps[None]:
        for delay, pages in plans[cpu.id]:
            cpu.work(delay, Activity("user"))
            yield cpu.take_pending()
            flush.catch_up(cpu)
            for page, frame in table.items():
                if cpu.tlb.lookup(page) is None:
                    cpu.tlb.fill(page, frame, writable=True)
            removed = [(page, table[page]) for page in pages]
            if removed:
                # While the interrupts of a full table of records are under way, nothing is pinned yet.
                flushing.append(cpu)
                for page in pages:
                    table[page] = next(frames)
                    in_use.add(table[page])
                yield from flush.flush_lazily(cpu, removed, partial(release, [frame for _, frame in removed]))
                flushing.remove(cpu)
            if not flushing:
                check()

    def release(gone: list[int], _: Cpu) -> None:
        for cpu in machine.cpus:
            held = {entry.frame for entry in cpu.tlb.frames().values()} if not cpu.tlb.stale else set()
            assert not held & set(gone)
        in_use.difference_update(gone)

    flushing: list[Cpu] = []
    run(machine, dict.fromkeys(range(len(plans)), body))
    check()


def _check_tlbs(machine: Machine, flush: LazyFlush, table: dict[int, int], in_use: set[int]) -> None:
    for cpu in machine.cpus:
        if not cpu.tlb.stale:
            for page, entry in cpu.tlb.frames().items():
                assert entry.frame in in_use
                assert entry.frame == table[page] or flush.is_pinned(page, entry.frame)


def three_flushes(*, as_coded: bool) -> tuple[LazyFlush, Machine, list[int]]:
    """With two records, the third after all have swept."""
    machine = small_machine(online=2)
    flush, freed = latr(machine, slots=2, as_coded=as_coded), list[int]()
    for cpu in machine.cpus:
        for page in (5, 6, 7):
            cpu.tlb.fill(page, frame=10 * page, writable=True)

    def unmaps(cpu: Cpu) -> Steps[None]:
        for page in (5, 6):
            yield from flush.flush_lazily(cpu, [(page, 10 * page)], lambda _, page=page: freed.append(page))
        cpu.work(10 * TICK, Activity("user"))
        yield cpu.take_pending()
        yield from flush.flush_lazily(cpu, [(7, 70)], lambda _: freed.append(7))

    def sweeps_twice(cpu: Cpu) -> Steps[None]:
        cpu.work(5 * TICK, Activity("user"))
        yield cpu.take_pending()
        flush.catch_up(cpu)

    run(machine, {0: unmaps, 1: sweeps_twice})
    return flush, machine, freed


def test_does_latr_as_coded_never_free_a_record_and_tell_nobody_of_the_next() -> None:
    flush, machine, freed = three_flushes(as_coded=False)
    assert freed == [5]
    assert flush.is_pinned(7, 70)
    flush, machine, freed = three_flushes(as_coded=True)
    assert freed == [7]
    assert flush.is_pinned(5, 50)
    assert list(machine.cpus[1].tlb.frames()) == [7]
    assert flush.is_left_behind(7, 70)
    assert not machine.cpus[1].spent["interrupt"]
