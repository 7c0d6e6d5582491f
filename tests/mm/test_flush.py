"""After a shootdown, who can still translate? And what does each cpu have to flush?"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from machines import (
    CROSS_CLUSTER,
    CROSS_SOCKET,
    HIT,
    LOCAL,
    NS,
    RMW,
    SAME_CLUSTER,
    Body,
    SmallMachine,
    run,
    small_machine,
)

from sim.engine import PARKED, Activity, Probe, ScheduleName, Steps
from sim.engine.probe import CpuView
from sim.errors import ModelError
from sim.hardware import INTERRUPT, TLB_FLUSH, Cpu, Machine
from sim.mm import Contexts, FlushSpec, SynchronousFlush, TrackedFlush, make_flush
from sim.sync import Scheduler, Sleeper

US = 1000 * NS
TIES = pytest.mark.parametrize("ties", ["fifo", "shuffle"])


BROADCAST = {
    "tlb": {
        "pcid": True,
        "switch": "50 ns",
        "broadcast": {"issue": "20 ns", "pages_per_issue": 8, "sync": "600 ns"},
    }
}
KINDS = {
    "ipi": {"method": "ipi", "concurrent": True, "asids": 6},
    "ipi-5.1": {"method": "ipi", "concurrent": False, "asids": 6},
    "broadcast": {"method": "broadcast", "broadcast_from": 2, "concurrent": True, "asids": 6},
    "if-present": {"method": "broadcast-if-present", "broadcast_from": 2, "concurrent": True, "asids": 6},
    "ipi-3.5": {"method": "ipi", "concurrent": False, "asids": 1, "ranges": False, "skip_lazy": False},
    "ipi-6.14": {
        "method": "ipi",
        "concurrent": True,
        "asids": 6,
        "mm_cpumask": "lazy",
        "trim_every": "100 us",
    },
    "trims often": {
        "method": "ipi",
        "concurrent": True,
        "asids": 6,
        "mm_cpumask": "lazy",
        "trim_every": "1 us",
    },
}


def flusher(machine: Machine, active: Sequence[int], kind: str = "ipi") -> SynchronousFlush:
    flush = make_flush(machine, machine.line("tlb_gen"), FlushSpec.model_validate(KINDS[kind]))
    for number in active:
        flush.activate(machine.cpus[number])
    return flush


def fill(cpu: Cpu, *pages: int) -> None:
    for page in pages:
        cpu.tlb.fill(page, frame=page + 1000, writable=True)


def works(after: int) -> Body:
    def body(cpu: Cpu) -> Steps[None]:
        cpu.work(after, Activity("user"))
        yield cpu.take_pending()

    return body


def flushes(flush: SynchronousFlush, pages: Sequence[int], at: int = 0) -> Body:
    def body(cpu: Cpu) -> Steps[None]:
        cpu.work(at, Activity("user"))
        yield from flush.flush(cpu, pages)

    return body


def held(machine: Machine, cpu: int) -> list[int]:
    return sorted(machine.cpus[cpu].tlb.frames())


def test_does_a_cpu_one_behind_flush_the_range_only() -> None:
    machine = small_machine(online=4)
    flush = flusher(machine, range(4))
    for cpu in machine.cpus:
        fill(cpu, 1, 2, 3)
    run(machine, {0: flushes(flush, [1, 2]), **dict.fromkeys(range(1, 4), works(50 * US))})
    assert [held(machine, cpu) for cpu in range(4)] == [[3]] * 4
    assert [machine.tally.interrupts[cpu.id] for cpu in machine.cpus] == [0, 1, 1, 1]
    assert (
        machine.cpus[0].spent[TLB_FLUSH] == (80 + 2 * 40) * NS
    )  # the generation's line from memory, 2 INVLPG


def test_is_a_range_above_the_ceiling_flushed_whole() -> None:
    machine = small_machine({"tlb": {"flush_ceiling": 3}}, online=2)
    flush = flusher(machine, range(2))
    for cpu in machine.cpus:
        fill(cpu, 1, 9)
    run(machine, {0: flushes(flush, [1, 2, 3, 4]), 1: works(50 * US)})
    assert [held(machine, cpu) for cpu in (0, 1)] == [[], []]
    assert machine.cpus[0].spent[TLB_FLUSH] == (80 + 90) * NS


def test_does_a_cpu_further_behind_flush_everything_once() -> None:
    """Cpu 2 has interrupts off while two flushes are sent; then it takes both in one interrupt."""
    machine = small_machine(online=3)
    flush = flusher(machine, range(3))
    fill(machine.cpus[2], 1, 2, 3)

    def deaf(cpu: Cpu) -> Steps[None]:
        cpu.disable_interrupts()
        cpu.work(20 * US, Activity("user"))
        yield cpu.take_pending()
        assert held(machine, 2) == [1, 2, 3]
        cpu.enable_interrupts()

    run(machine, {0: flushes(flush, [1]), 1: flushes(flush, [2], at=5 * US), 2: deaf})
    assert flush.generation == 2
    assert held(machine, 2) == []
    assert machine.tally.interrupts[2] == 1
    # Entry and exit, the queue's line from cpu 1 next door, two more lines a call, tlb_gen's, one full flush.
    assert machine.cpus[2].spent[INTERRUPT] == (400 + 30 + 2 * 2 * 30 + 30 + 90) * NS


def test_is_a_lazy_cpu_skipped_and_flushed_when_it_comes_back() -> None:
    machine = small_machine(online=3)
    flush = flusher(machine, range(3))
    fill(machine.cpus[1], 1, 2)
    fill(machine.cpus[2], 1, 2)

    def sleeps(cpu: Cpu) -> Steps[None]:
        cpu.in_kernel_wait = True
        yield 30 * US
        cpu.charge(30 * US, Activity("asleep"))
        cpu.in_kernel_wait = False
        assert held(machine, 2) == [1, 2]
        cpu.tlb_catch_up()
        assert held(machine, 2) == []

    run(machine, {0: flushes(flush, [1], at=US), 1: works(50 * US), 2: sleeps})
    assert held(machine, 1) == [2]
    assert [machine.tally.interrupts[cpu.id] for cpu in machine.cpus] == [0, 1, 0]
    run(machine, {0: flushes(flush, [2]), 2: works(50 * US)})  # a later flush finds it up to date
    assert flush._active[machine.cpus[2]] == 2


def test_does_a_short_range_cost_everything_before_3_7_but_for_one_page() -> None:
    for kind, left in (("ipi-3.5", []), ("ipi", [3])):
        machine = small_machine(online=2)
        flush = flusher(machine, range(2), kind)
        for cpu in machine.cpus:
            fill(cpu, 1, 2, 3)
        run(machine, {0: flushes(flush, [1, 2]), 1: works(50 * US)})
        assert [held(machine, cpu) for cpu in range(2)] == [left, left]
    machine = small_machine(online=2)
    flush = flusher(machine, range(2), "ipi-3.5")
    fill(machine.cpus[1], 1, 2, 3)
    run(machine, {0: flushes(flush, [1]), 1: works(50 * US)})
    assert held(machine, 1) == [2, 3]


@pytest.mark.parametrize(
    ("kind", "freed_tables", "interrupts"),
    [
        ("ipi", False, 0),
        ("ipi", True, 1),  # leaves for the kernel's own space, and is not asked again
        ("ipi-3.5", False, 1),  # the same, whatever is flushed
        ("ipi-6.14", False, 0),
        ("ipi-6.14", True, 2),  # leaves too, and takes its bit out when it is asked once more
    ],
)
def test_how_often_is_a_lazy_cpu_interrupted_by_three_flushes(
    kind: str, freed_tables: bool, interrupts: int
) -> None:
    machine = small_machine(online=2)
    flush = flusher(machine, range(2), kind)
    fill(machine.cpus[1], 1, 2)

    def idles(cpu: Cpu) -> Steps[None]:
        cpu.in_kernel_wait = True
        since = cpu.begin_wait("a nap")
        cpu.wake(90 * US)
        yield PARKED
        cpu.end_wait(since, Activity("asleep"))
        cpu.in_kernel_wait = False
        cpu.tlb_catch_up()
        assert held(machine, 1) == []

    def body(cpu: Cpu) -> Steps[None]:
        cpu.work(10 * US, Activity("user"))
        for page in range(3):
            yield from flush.flush(cpu, [page], freed_tables=freed_tables)

    run(machine, {0: body, 1: idles})
    assert machine.tally.interrupts[1] == interrupts


def test_are_cpus_without_the_address_space_left_alone() -> None:
    machine = small_machine(online=4)
    flush = flusher(machine, [0, 2])
    for cpu in machine.cpus:
        fill(cpu, 1)
    run(machine, {0: flushes(flush, [1]), **dict.fromkeys(range(1, 4), works(50 * US))})
    assert [held(machine, cpu) for cpu in range(4)] == [[], [1], [], [1]]


def test_does_a_flush_without_others_send_nothing() -> None:
    machine = small_machine(online=2)
    flush = flusher(machine, [0])
    run(machine, {0: flushes(flush, [1]), 1: works(US)})
    assert (machine.tally.calls, machine.tally.flushes) == (0, 1)


def test_does_loading_the_space_again_not_count_as_a_flush() -> None:
    machine = small_machine(online=2)
    flush = flusher(machine, range(2))
    fill(machine.cpus[1], 1)

    def loads_again(cpu: Cpu) -> Steps[None]:
        cpu.work(100 * NS, Activity("user"))
        yield cpu.take_pending()
        assert flush.generation == 1
        flush.activate(cpu)
        cpu.work(50 * US, Activity("user"))

    run(machine, {0: flushes(flush, [1]), 1: loads_again})
    assert held(machine, 1) == []


flush_step = st.tuples(st.just("flush"), st.lists(st.integers(0, 9), min_size=1, max_size=5, unique=True))
other_step = st.tuples(st.sampled_from(["work", "sleep", "deaf"]), st.sampled_from([0, 300 * NS, US, 5 * US]))
plans = st.lists(st.lists(flush_step | other_step, max_size=5), min_size=2, max_size=6)


@TIES
@pytest.mark.parametrize("kind", ["ipi", "ipi-3.5", "ipi-5.1", "broadcast"])
@given(plans=plans, ceiling=st.sampled_from([2, 33]))
def test_is_no_stale_translation_left_whatever_the_others_do(
    kind: str, ties: ScheduleName, plans: list[list[tuple[str, object]]], ceiling: int
) -> None:
    """Each cpu fills its TLB from one table of versions; a flush makes new versions first."""
    tlb = {**BROADCAST["tlb"], "flush_ceiling": ceiling}
    machine = small_machine({"tlb": tlb}, ties=ties, online=len(plans))
    flush = flusher(machine, range(len(plans)), kind)
    version = dict.fromkeys(range(10), 0)

    def body(cpu: Cpu) -> Steps[None]:
        for step, what in plans[cpu.id]:
            if cpu.pending:
                yield cpu.take_pending()
            for page in version:
                if page % len(plans) != cpu.id:
                    cpu.tlb.fill(page, frame=version[page], writable=True)
            if step == "flush":
                assert isinstance(what, list)
                wanted = {page: version[page] + 1 for page in what}
                version.update(wanted)
                yield from flush.flush(cpu, what)
                for other in machine.cpus:
                    entries = {} if other.tlb.stale else other.tlb.frames()
                    assert all(entries[page].frame >= new for page, new in wanted.items() if page in entries)
            else:
                assert isinstance(what, int)
                if step == "sleep":
                    cpu.in_kernel_wait = True
                    since = cpu.begin_wait("a nap")
                    cpu.wake(what)
                    yield PARKED
                    cpu.end_wait(since, Activity("asleep"))
                    cpu.in_kernel_wait = False
                    cpu.tlb_catch_up()
                else:
                    if step == "deaf":
                        cpu.disable_interrupts()
                    cpu.work(what, Activity("user"))
                    yield cpu.take_pending()
                    if step == "deaf":
                        cpu.enable_interrupts()

    run(machine, dict.fromkeys(range(len(plans)), body))


# -- what a shootdown costs its initiator -------------------------------------------------------------------


@pytest.mark.parametrize("concurrent", [True, False])
@pytest.mark.parametrize("pages", [1, 5, 40])
@pytest.mark.parametrize("targets", [1, 3, 7, 15])
def test_is_the_latency_of_a_shootdown_the_sum_of_the_formula(
    targets: int, pages: int, concurrent: bool
) -> None:
    """tlb_gen + send + lines of all calls + ICR writes + the last target's delivery, handler, lines and flush
    + acks, of which half overlaps. Before 5.13 the initiator's own flush comes on top.

    The targets share two lines, what the call is about and tlb_gen: of neighbours of the sender the second
    has them from the first, and a cluster waits for the first copy that is brought to it. Over there the last
    to end got its interrupt with the write before the last: their first copies come from the other socket."""
    machine = small_machine(online=targets + 1)
    flush = flusher(machine, range(targets + 1), "ipi" if concurrent else "ipi-5.1")
    ends: list[int] = []

    def body(cpu: Cpu) -> Steps[None]:
        yield from flush.flush(cpu, range(pages))
        ends.append(cpu.now)

    run(machine, {0: body, **dict.fromkeys(range(1, targets + 1), works(50 * US))})
    near, middle, far = min(targets, 3), max(0, min(targets - 3, 4)), max(0, targets - 7)
    lines = near * SAME_CLUSTER + middle * CROSS_CLUSTER + far * CROSS_SOCKET
    writes = {1: 1, 3: 1, 7: 2, 15: 4}[targets]  # groups of four APIC ids
    last = CROSS_SOCKET if far else CROSS_CLUSTER if middle else SAME_CLUSTER
    flushed = 90 * NS if pages > 33 else pages * 40 * NS
    shared = {1: SAME_CLUSTER, 3: 2 * SAME_CLUSTER, 7: CROSS_CLUSTER, 15: CROSS_SOCKET}[targets]
    earlier = 100 * NS if far else 0
    remote = (500 if far else 300) * NS + 400 * NS + 2 * last + 2 * shared + flushed - earlier
    own = 0 if concurrent else flushed
    sent = 50 * NS + HIT + 2 * lines + writes * 100 * NS
    assert ends == [LOCAL + own + sent + remote + lines // 2]


def test_do_calls_of_a_storm_share_interrupts() -> None:
    """All flush at once, ten times: a target that has an interrupt coming takes all calls with it."""
    machine = small_machine()
    flush = flusher(machine, range(16))

    def body(cpu: Cpu) -> Steps[None]:
        for _ in range(10):
            yield from flush.flush(cpu, [cpu.id])

    run(machine, dict.fromkeys(range(16), body))
    tally = machine.tally
    assert 0.9 * 16 * 10 * 15 < tally.calls <= 16 * 10 * 15  # who is done is idle and not asked
    assert tally.ipis < tally.calls / 3


@pytest.mark.parametrize(("read", "flushes_again"), [("always", True), ("if-behind", False)])
def test_does_a_call_whose_flush_is_done_look_for_others(read: str, flushes_again: bool) -> None:
    """Cpu 3 takes two calls. While it does the first, which catches up with both, cpu 2 counts a third."""
    dropped: list[int] = []

    class Flushes(Probe):
        def tlb_flush(self, cpu: CpuView, pages: int, remote: bool) -> None:
            if cpu.id == 3:
                dropped.append(flush.generation)

    machine = small_machine(online=4, listeners=[Flushes()])
    line = machine.line("tlb_gen")
    spec = FlushSpec.model_validate({**KINDS["ipi"], "tlb_gen_read": read})
    flush = make_flush(machine, line, spec)
    for number in (0, 1, 3):
        flush.activate(machine.cpus[number])

    def deaf(cpu: Cpu) -> Steps[None]:
        cpu.disable_interrupts()
        cpu.work(20 * US, Activity("user"))
        yield cpu.take_pending()
        cpu.enable_interrupts()
        cpu.work(20 * US, Activity("user"))
        yield cpu.take_pending()

    def counts(cpu: Cpu) -> Steps[None]:
        """Between the beginnings of the two calls: 430 ns for the first's handler, 2 x 60 for its lines."""
        cpu.work(20 * US + 100 * NS, Activity("user"))
        yield from flush.put_off(cpu)

    calls = {0: flushes(flush, [1]), 1: flushes(flush, [2], at=5 * US)}
    run(machine, {**calls, 2: counts, 3: deaf})
    assert dropped == ([2, 3] if flushes_again else [2])
    assert line.held_by(machine.cpus[3]) == flushes_again


def test_does_a_target_of_a_storm_flush_everything_once_instead_of_page_by_page() -> None:
    """Sixteen generations at once: whoever is more than one behind catches up with one full flush."""
    machine = small_machine()
    flush = flusher(machine, range(16))
    run(machine, dict.fromkeys(range(16), flushes(flush, [1])))
    full = [cpu for cpu in machine.cpus if flush._active[cpu] == 16]
    assert flush.generation == 16
    assert full == machine.cpus


def test_does_a_tracked_flush_leave_other_cpus_alone() -> None:
    machine = small_machine(online=4)
    tracked = TrackedFlush(machine)
    for cpu in machine.cpus:
        fill(cpu, 1, 2)

    def body(cpu: Cpu) -> Steps[None]:
        yield from tracked.flush(cpu, [1], [machine.cpus[2]])

    run(machine, {0: body})
    assert [held(machine, cpu) for cpu in range(4)] == [[2], [1, 2], [2], [1, 2]]
    assert [machine.tally.interrupts[cpu.id] for cpu in machine.cpus] == [0, 0, 1, 0]


# -- broadcast ----------------------------------------------------------------------------------------------


def test_does_a_broadcast_flush_interrupt_nobody() -> None:
    """The first flush is by IPI and makes the process global; cpu 3 sleeps and is reached all the same."""
    machine = small_machine(BROADCAST, online=4)
    flush = flusher(machine, range(4), "broadcast")
    ends: list[int] = []

    def body(cpu: Cpu) -> Steps[None]:
        yield from flush.flush(cpu, [9])
        for other in machine.cpus:
            fill(other, *range(1, 6))
        machine.cpus[3].in_kernel_wait = True
        yield cpu.take_pending()
        begun = cpu.now
        yield from flush.flush(cpu, [1, 2])
        ends.append(cpu.now - begun)
        begun = cpu.now
        yield from flush.flush(cpu, [3] * 9)
        ends.append(cpu.now - begun)
        machine.cpus[3].in_kernel_wait = False

    run(machine, {0: body, **dict.fromkeys(range(1, 4), works(50 * US))})
    assert [held(machine, cpu) for cpu in range(4)] == [[4, 5]] * 4
    assert not machine.cpus[3].tlb.stale
    assert [machine.tally.interrupts[cpu.id] for cpu in machine.cpus] == [0, 1, 1, 1]
    # The generation's line was with the three targets first.
    assert ends == [SAME_CLUSTER + (20 + 600) * NS, RMW + (2 * 20 + 600) * NS]


def test_do_broadcasts_pass_one_after_another() -> None:
    """Four cpus at once: the medium carries one TLBSYNC at a time."""
    machine = small_machine(BROADCAST, online=4)
    flush = flusher(machine, range(4), "broadcast")
    ends: list[int] = []

    def opens(cpu: Cpu) -> Steps[None]:
        yield from flush.flush(cpu, [9])

    def body(cpu: Cpu) -> Steps[None]:
        yield from flush.flush(cpu, [cpu.id])
        ends.append(cpu.now)

    run(machine, {0: opens})
    begun = machine.engine.now
    run(machine, dict.fromkeys(range(4), body))
    waits = [end - begun for end in sorted(ends)]
    assert [later - earlier for earlier, later in pairwise(waits)] == [600 * NS] * 3
    assert machine.broadcast is not None
    assert machine.tally.broadcasts == 4


def test_does_a_process_on_few_cpus_not_broadcast() -> None:
    machine = small_machine(BROADCAST, online=3)
    spec = FlushSpec.model_validate({**KINDS["broadcast"], "broadcast_from": 4})
    flush = make_flush(machine, machine.line("tlb_gen"), spec)
    for cpu in machine.cpus:
        flush.activate(cpu)

    def body(cpu: Cpu) -> Steps[None]:
        for page in range(3):
            yield from flush.flush(cpu, [page])

    run(machine, {0: body, **dict.fromkeys((1, 2), works(50 * US))})
    assert machine.tally.calls == 6


def test_is_broadcast_refused_on_a_machine_without_it() -> None:
    for changes in ({}, {"tlb": {**BROADCAST["tlb"], "pcid": False}}):
        machine = small_machine(changes)
        with pytest.raises(ModelError, match="small cannot broadcast TLB flushes"):
            flusher(machine, [], "broadcast")


@pytest.mark.parametrize("changes", [BROADCAST, {}, {"tlb": {**BROADCAST["tlb"], "pcid": False}}])
def test_does_a_broadcast_if_present_fall_back_on_interrupts(changes: dict[str, Any]) -> None:
    machine = small_machine(changes, online=3)
    flush = flusher(machine, range(3), "if-present")

    def body(cpu: Cpu) -> Steps[None]:
        for page in range(3):
            yield from flush.flush(cpu, [page])

    run(machine, {0: body, **dict.fromkeys((1, 2), works(50 * US))})
    assert (machine.tally.calls, machine.tally.broadcasts) == ((2, 2) if changes is BROADCAST else (6, 0))


@pytest.mark.parametrize("fields", [{"mm_cpumask": "lazy"}, {"trim_every": "1 s"}])
def test_does_a_lazy_mask_need_to_know_how_often_it_is_trimmed(fields: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="`trim_every` is for `mm_cpumask: lazy`"):
        FlushSpec.model_validate({**KINDS["ipi"], **fields})


@pytest.mark.parametrize(
    "fields", [{"method": "broadcast", "broadcast_from": None}, {"method": "ipi", "broadcast_from": 4}]
)
def test_does_broadcast_need_to_know_from_how_many_cpus_on(fields: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="`broadcast_from` is for `method: broadcast`"):
        FlushSpec.model_validate({**KINDS["ipi"], **fields})


def test_are_calls_of_sv6_refused_beside_a_broadcast() -> None:
    with pytest.raises(ValueError, match="`calls: sv6` are interrupts"):
        FlushSpec.model_validate({**KINDS["broadcast"], "calls": "sv6"})


# -- switching address spaces -------------------------------------------------------------------------------


def switched(machine: Machine, order: Sequence[int], asids: int = 2) -> tuple[Contexts, list[int]]:
    """Cpu 0 loads spaces in *order* and fills a page in each; the pages it finds there first."""
    spaces = [flusher(machine, []) for _ in range(4)]
    contexts = Contexts(machine.cpus[0], asids, pcid=machine.spec.tlb.pcid)
    found: list[int] = []

    def body(cpu: Cpu) -> Steps[None]:
        for number in order:
            yield from contexts.switch(spaces[number])
            found.append(len(cpu.tlb.frames()))
            fill(cpu, number)

    run(machine, {0: body})
    return contexts, found


def moved_away(kind: str, body: Callable[[SynchronousFlush], Body]) -> SmallMachine:
    """Cpu 0 loads a space and then another one; then cpu 1 does something with the first."""
    machine = small_machine(BROADCAST, online=2)
    here, there = flusher(machine, [1], kind), flusher(machine, [], kind)
    contexts = Contexts(machine.cpus[0], 2, pcid=True)

    def leaves(cpu: Cpu) -> Steps[None]:
        for space in (here, there):
            yield from contexts.switch(space)
        cpu.work(400 * US, Activity("user"))
        yield cpu.take_pending()

    run(machine, {0: leaves, 1: body(here)})
    return machine


def test_is_a_cpu_that_has_left_asked_by_flushes_that_free_tables_or_trim_the_mask_since_6_14() -> None:
    def plain(here: SynchronousFlush) -> Body:
        return flushes(here, [1], at=50 * US)

    def frees_tables(here: SynchronousFlush) -> Body:
        def body(cpu: Cpu) -> Steps[None]:
            cpu.work(50 * US, Activity("user"))
            yield from here.flush(cpu, [1], freed_tables=True)

        return body

    def frees_tables_twice(here: SynchronousFlush) -> Body:
        def body(cpu: Cpu) -> Steps[None]:
            cpu.work(50 * US, Activity("user"))
            for page in range(2):
                yield from here.flush(cpu, [page], freed_tables=True)

        return body

    def trims(here: SynchronousFlush) -> Body:
        def body(cpu: Cpu) -> Steps[None]:
            cpu.work(150 * US, Activity("user"))
            for page in range(3):
                yield from here.flush(cpu, [page], freed_tables=page > 0)

        return body

    ways = (plain, frees_tables, frees_tables_twice, trims)
    asked = {what: moved_away("ipi-6.14", what).tally.interrupts[0] for what in ways}
    assert asked == {plain: 0, frees_tables: 1, frees_tables_twice: 1, trims: 1}
    assert [moved_away("ipi", what).tally.interrupts[0] for what in asked] == [0, 0, 0, 0]


def test_what_does_a_switch_save_that_leaves_its_bit_in_the_mask() -> None:
    """To the other space and back again: no write of this mask, and a read of it on the way back."""
    spent = {}
    for kind in ("ipi", "ipi-6.14"):
        machine = small_machine(BROADCAST, online=1)
        here, there = flusher(machine, [], kind), flusher(machine, [], kind)
        contexts = Contexts(machine.cpus[0], 2, pcid=True)

        def body(
            cpu: Cpu,
            contexts: Contexts = contexts,
            spaces: tuple[SynchronousFlush, ...] = (here, there, here),
        ) -> Steps[None]:
            for space in spaces:
                yield from contexts.switch(space)

        run(machine, {0: body})
        spent[kind] = machine.cpus[0].spent[TLB_FLUSH]
    assert spent["ipi"] - spent["ipi-6.14"] == 2 * RMW + RMW - HIT


def test_does_a_switch_drop_the_tlb_without_pcid() -> None:
    machine = small_machine()
    _, found = switched(machine, [0, 1, 0, 1])
    assert (found, machine.tally.kept) == ([0, 0, 0, 0], 0)


def test_does_a_space_find_its_entries_until_its_number_is_given_away() -> None:
    """Two numbers: 0 and 1 come back to theirs, 2 takes that of 0, which then takes that of 1."""
    machine = small_machine(BROADCAST)
    _, found = switched(machine, [0, 1, 0, 1, 2, 1, 0, 2])
    assert found == [0, 0, 1, 1, 0, 1, 0, 1]
    assert (machine.tally.switches, machine.tally.kept) == (8, 4)


def test_what_does_a_switch_cost() -> None:
    """Clear a bit in one mask, set it in another, read the generation, write CR3."""
    machine = small_machine(BROADCAST)
    switched(machine, [0, 1, 0])
    first = LOCAL + LOCAL + 90 * NS  # the mask and the generation come from memory
    second = RMW + LOCAL + LOCAL + 90 * NS
    third = RMW + RMW + HIT + 50 * NS
    assert machine.cpus[0].spent[TLB_FLUSH] == first + second + third


@pytest.mark.parametrize("kind", ["ipi", "broadcast"])
def test_does_a_space_that_was_flushed_while_it_was_away_begin_without_the_pages(kind: str) -> None:
    """By IPI nobody asks cpu 0, so it drops everything when it comes back; a broadcast reaches the pages."""
    machine = small_machine(BROADCAST, online=3)
    here, there = flusher(machine, [1, 2], kind), flusher(machine, [])
    contexts = Contexts(machine.cpus[0], 2, pcid=True)

    def opens(cpu: Cpu) -> Steps[None]:
        yield from here.flush(cpu, [9])

    def leaves(cpu: Cpu) -> Steps[None]:
        yield from contexts.switch(here)
        fill(cpu, 1, 2)
        yield from contexts.switch(there)
        cpu.work(20 * US, Activity("user"))
        yield cpu.take_pending()
        yield from contexts.switch(here)
        assert held(machine, 0) == ([] if kind == "ipi" else [2])

    run(machine, {1: opens})
    run(machine, {0: leaves, 1: flushes(here, [1], at=5 * US)})
    assert machine.tally.interrupts[0] == 0
    assert machine.tally.kept == (kind == "broadcast")


def test_does_a_space_that_was_flushed_while_its_cpu_idled_begin_anew_after_another_one() -> None:
    """Cpu 0 idles in a space and is not told of its flush. It goes on in another space, then comes back."""
    machine = small_machine(BROADCAST, online=2)
    here, there = flusher(machine, [1]), flusher(machine, [])
    contexts = Contexts(machine.cpus[0], 2, pcid=True)
    scheduler = Scheduler(machine)

    def idles(cpu: Cpu) -> Steps[None]:
        yield from contexts.switch(here)
        fill(cpu, 1, 2)
        sleeper = Sleeper(cpu, "a while")
        sleeper.on_rq = False
        cpu.engine.call_in(20 * US, lambda: scheduler.wake_from_interrupt(sleeper) and None)
        cpu.go_idle()
        yield from cpu.park(sleeper, Activity("asleep"))
        cpu.leave_idle()
        assert cpu.tlb.stale
        yield from contexts.switch(there)
        assert (cpu.tlb.stale, contexts.asid_of(here)) == (False, None)
        fill(cpu, 3)
        yield from contexts.switch(here)
        assert held(machine, 0) == []
        yield from contexts.switch(there)
        assert held(machine, 0) == [3]

    run(machine, {0: idles, 1: flushes(here, [1], at=5 * US)})
    assert machine.tally.interrupts[0] == 0


def test_is_a_call_for_a_space_that_the_cpu_has_just_left_harmless() -> None:
    """Cpu 0 switches with interrupts off; cpu 1's flush was sent before and is answered after."""
    machine = small_machine(BROADCAST, online=2)
    here, there = flusher(machine, [1]), flusher(machine, [])
    contexts = Contexts(machine.cpus[0], 2, pcid=True)

    def leaves(cpu: Cpu) -> Steps[None]:
        yield from contexts.switch(here)
        fill(cpu, 1)
        cpu.work(400 * NS, Activity("user"))
        yield from contexts.switch(there)
        fill(cpu, 1)
        cpu.work(20 * US, Activity("user"))
        yield cpu.take_pending()
        assert held(machine, 0) == [1]
        yield from contexts.switch(here)
        assert held(machine, 0) == []

    run(machine, {0: leaves, 1: flushes(here, [1], at=450 * NS)})
    assert machine.tally.interrupts[0] == 1


@TIES
@pytest.mark.parametrize("kind", ["ipi", "broadcast", "trims often"])
@given(
    plans=st.lists(
        st.lists(st.tuples(st.sampled_from(["switch", "flush", "work"]), st.integers(0, 2)), max_size=8),
        min_size=2,
        max_size=5,
    )
)
def test_are_the_entries_of_loaded_and_left_spaces_never_stale(
    kind: str, ties: ScheduleName, plans: list[list[tuple[str, int]]]
) -> None:
    """Three spaces, two numbers a cpu; each space has pages whose versions its flushes raise."""
    machine = small_machine(BROADCAST, ties=ties, online=len(plans))
    spaces = [flusher(machine, [], kind) for _ in range(3)]
    contexts = [Contexts(cpu, 2, pcid=True) for cpu in machine.cpus]
    version = [[0, 0, 0] for _ in spaces]
    sure = [[0, 0, 0] for _ in spaces]

    def check(cpu: Cpu) -> None:
        space = None if cpu.tlb.stale else contexts[cpu.id]._loaded
        for asid, other in [(cpu.tlb.asid, space), *contexts[cpu.id].left()]:
            if other is not None:
                number = spaces.index(other)
                for page, entry in cpu.tlb.frames(asid).items():
                    assert entry.frame >= sure[number][page], (cpu, number, page)

    def body(cpu: Cpu) -> Steps[None]:
        yield from contexts[cpu.id].switch(spaces[0])
        for step, what in plans[cpu.id]:
            if cpu.pending:
                yield cpu.take_pending()
            number = next(n for n, space in enumerate(spaces) if space is contexts[cpu.id]._loaded)
            for page in range(3):
                if cpu.tlb.lookup(page) is None:
                    cpu.tlb.fill(page, frame=version[number][page], writable=True)
            if step == "switch":
                yield from contexts[cpu.id].switch(spaces[what])
            elif step == "flush":
                version[number][what] += 1
                now = version[number][what]
                yield from spaces[number].flush(cpu, [what], freed_tables=what == 2)
                sure[number][what] = max(sure[number][what], now)
                for other in machine.cpus:
                    check(other)
            else:
                cpu.work(what * US, Activity("user"))

    run(machine, dict.fromkeys(range(len(plans)), body))
