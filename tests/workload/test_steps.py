"""Which calls do steps become?"""

from __future__ import annotations

from random import Random
from typing import Any

import pytest
from kernels import KINDS
from machines import raw_spec, run, small_machine
from plain import measure, plan, workload
from pydantic import ValidationError

from sim.engine import Steps
from sim.files import load_spec
from sim.hardware import Cpu, MachineSpec
from sim.mm import (
    READ,
    READ_WRITE,
    Brk,
    Madvise,
    Mincore,
    Mlock,
    Mmap,
    Mprotect,
    Mremap,
    Msync,
    Munlock,
    Munmap,
    Operation,
    Touch,
)
from sim.workload import Budget, foresee, never_works
from sim.workload.layout import Slots
from sim.workload.place_spec import MmapStep, RangeStep
from sim.workload.placed import placed_action
from sim.workload.rehearsal import rehearse
from sim.workload.step_spec import Step
from sim.workload.thread import Refused, Worker

BASE = 1 << 20
GROW = {"mremap": {"at": "slot", "new_size": "16 KiB", "may_move": False}}
SHRINK = {"mremap": {"at": "slot", "new_size": "4 KiB"}}


class Recorder:
    """An address space that only writes down what is asked of it; mappings begin at page 1000."""

    def __init__(self) -> None:
        self.calls: list[tuple[Any, ...]] = []
        self.next = 1000
        self.brk = 500

    def perform(self, cpu: Cpu, operation: Operation) -> Steps[None]:
        start = None
        if isinstance(operation, Mmap):
            self.calls.append(("mmap", operation.pages, operation.at))
            start, self.next = operation.at, self.next
            if start is None:
                start, self.next = self.next, self.next + operation.pages
        elif isinstance(operation, Munmap):
            self.calls.append(("munmap", operation.at, operation.pages))
        elif isinstance(operation, Mremap):
            self.calls.append(("mremap", operation.at, operation.pages, operation.new_pages, operation.to))
            start = 2000
        elif isinstance(operation, Brk):
            self.calls.append(("brk", operation.at))
            start = self.brk = operation.at or self.brk
        elif isinstance(operation, Touch):
            self.calls += [("touch" if operation.write else "read", page) for page in operation.pages]
        return start
        yield


def calls(
    steps: list[dict[str, Any]],
    layout: dict[str, Any] | None = None,
    setup: list[dict[str, Any]] | None = None,
) -> list[tuple[Any, ...]]:
    """What request 1 of thread 1 (of 2) does."""
    base = {"request": "8 KiB", "stride": "64 KiB", "order": "own"}
    chosen = plan(thread=steps, setup=setup or [], layout={**base, **(layout or {"base": "4 GiB"})})
    machine, recorder = small_machine(online=1), Recorder()
    slots = Slots(chosen, 2, Random(0))
    space: Any = recorder

    def worker(cpu: Cpu, number: int) -> Worker:
        made = Worker(number, cpu, machine.engine)
        made.space, made.slots = space, slots
        return made

    def do(steps: tuple[Step, ...], worker: Worker) -> Steps[None]:
        for step in steps:
            assert step.placed is not None
            yield from placed_action(step.placed)(worker) or ()

    def body(cpu: Cpu) -> Steps[None]:
        yield from do(chosen.setup, worker(cpu, 0))
        second = worker(cpu, 1)
        second.request = 1
        assert chosen.thread is not None
        yield from do(chosen.thread, second)

    run(machine, {0: body})
    return recorder.calls


def test_where_is_a_slot() -> None:
    slot = BASE + 16 + 2
    steps: list[dict[str, Any]] = [{name: {"at": "slot"}} for name in ("mmap", "touch", "munmap")]
    assert calls(steps) == [
        ("mmap", 2, slot),
        ("touch", slot),
        ("touch", slot + 1),
        ("munmap", slot, 2),
    ]


def test_is_what_was_mapped_as_large_as_the_mapping() -> None:
    steps: list[dict[str, Any]] = [
        {"mmap": {"at": "anywhere", "size": "12 KiB"}},
        {"touch": {"at": "mapped", "write": False}},
        {"mmap": {"at": "anywhere"}},
        {"munmap": {"at": "mapped"}},
        {"munmap": {"at": "mapped", "size": "4 KiB"}},
    ]
    assert calls(steps) == [
        ("mmap", 3, None),
        ("read", 1000),
        ("read", 1001),
        ("read", 1002),
        ("mmap", 2, None),
        ("munmap", 1003, 2),
        ("munmap", 1003, 1),
    ]


def test_does_the_setup_map_the_layout_once_for_all() -> None:
    found = calls(
        [{"touch": {"at": "slot", "size": "4 KiB"}}],
        layout={"reserve": 3},
        setup=[{"mmap": {"at": "layout"}}, {"munmap": {"at": "layout"}}],
    )
    assert found == [("mmap", 2 * 16 * 3, None), ("munmap", 1000, 96), ("touch", 1000 + 16 + 2)]


def test_are_every_slots_visited_in_thread_order() -> None:
    found = calls([{"munmap": {"at": "every slot"}}])
    assert found == [("munmap", BASE + 16 * thread + 2 * j, 2) for thread in (0, 1) for j in range(4)]


def test_is_a_size_rounded_up_to_pages() -> None:
    assert calls([{"mmap": {"at": "anywhere", "size": "5 KiB"}}])[0] == ("mmap", 2, None)


def test_do_steps_carry_their_rights_and_advice() -> None:
    steps: list[dict[str, Any]] = [
        {"mmap": {"at": "slot", "prot": "r"}},
        {"mprotect": {"at": "slot", "prot": "rw"}},
        {"madvise": {"at": "mapped"}},
        {"mlock": {"at": "mapped", "on_fault": True}},
        {"munlock": {"at": "mapped"}},
        {"mincore": {"at": "mapped"}},
        {"msync": {"at": "mapped", "wait": False}},
    ]
    chosen = plan(thread=steps)
    slot = range(10, 12)
    first, second, third, *others = (step.placed for step in chosen.thread or ())
    assert isinstance(first, MmapStep)
    assert first.operation(2, 10) == Mmap(2, 10, READ)
    assert isinstance(second, RangeStep)
    assert second.operation(slot) == Mprotect(10, 2, READ_WRITE)
    assert isinstance(third, RangeStep)
    assert third.operation(slot) == Madvise(10, 2, "dontneed")
    found = [other.operation(slot) for other in others if isinstance(other, RangeStep)]
    assert found == [Mlock(10, 2, True), Munlock(10, 2), Mincore(10, 2), Msync(10, 2, False, False)]


@pytest.mark.parametrize("prot", ["", "rr", "rwz", "read", 3, None])
def test_which_rights_are_refused(prot: object) -> None:
    with pytest.raises(ValidationError):
        plan(thread=[{"mmap": {"at": "slot"}}, {"mprotect": {"at": "slot", "prot": prot}}])


@pytest.mark.parametrize("kind", KINDS)
def test_does_a_workload_protect_and_unprotect(kind: str) -> None:
    """A W^X flip: taken away and given back, each page written in between."""
    steps = [
        {"mmap": {"at": "slot"}},
        {"touch": {"at": "slot"}},
        {"mprotect": {"at": "slot", "prot": "r"}},
        {"touch": {"at": "slot", "write": False}},
        {"mprotect": {"at": "slot", "prot": "rw"}},
        {"touch": {"at": "slot"}},
        {"munmap": {"at": "slot"}},
    ]
    point = measure(workload(thread=steps), kind=kind, threads=3, placement="high")
    assert point.operations == 12


def test_is_locked_memory_held_and_foreseen_to_be() -> None:
    """More than there is: the file is refused before it runs."""
    spec = workload(thread=[{"mmap": {"at": "anywhere", "size": "64 MiB"}}, {"mlock": {"at": "mapped"}}])
    machine = MachineSpec.model_validate(raw_spec({"memory": {"size_per_socket": "16 MiB"}}))
    fault = foresee(machine, spec, "low", [1])
    assert fault is not None
    assert "at once" in fault.message or "hold" in fault.message


@pytest.mark.parametrize(
    ("advice", "held"),
    [("populate_write", 4), ("populate_read", 4), ("dontneed", 0), ("dontneed_locked", 0), ("free", 1),
     ("hugepage", 1)],
)  # fmt: skip
def test_does_a_rehearsal_know_what_advice_leaves(advice: str, held: int) -> None:
    steps = [
        {"mmap": {"at": "anywhere", "size": "16 KiB"}},
        {"touch": {"at": "mapped", "pages": 1}},
        {"madvise": {"at": "mapped", "advice": advice}},
    ]
    chosen = plan(thread=steps, requests=1, measured=None, stack=None)
    assert rehearse(chosen, 1, (0,)).held == held


def test_is_what_mremap_leaves_what_is_mapped() -> None:
    slot = BASE + 16 + 2
    assert calls(
        [
            {"mmap": {"at": "slot"}},
            {"mremap": {"at": "slot", "size": "4 KiB", "new_size": "16 KiB"}},
            {"munmap": {"at": "mapped"}},
            {"mremap": {"at": "mapped", "new_size": "4 KiB", "to": "slot"}},
            {"munmap": {"at": "all mapped"}},
        ]
    ) == [
        ("mmap", 2, slot),
        ("mremap", slot, 1, 4, None),
        ("munmap", 2000, 4),
        ("mremap", 2000, 4, 1, slot),
        ("munmap", slot, 2),
        ("munmap", 2000, 1),
    ]


@pytest.mark.parametrize(
    ("steps", "message"),
    [
        ([{"munmap": {"at": "slot"}}, SHRINK], "works on pages that are not mapped"),
        ([GROW, {"touch": {"at": "mapped"}}, {"munmap": {"at": "mapped"}}], None),
        ([GROW, {"touch": {"at": "slot", "size": "16 KiB"}}], None),  # it has grown in place
        ([{"mmap": {"at": "slot", "size": "12 KiB"}}, GROW], "grows into what is mapped, and may not move"),
        ([{"munmap": {"at": "slot", "size": "4 KiB"}}, {"mlock": {"at": "slot"}}],
         "works on pages that are not mapped"),
        ([SHRINK, {"touch": {"at": "slot"}}], "touches pages that are not mapped"),
        ([SHRINK, {"mmap": {"at": "slot"}}, {"mremap": {"at": "mapped", "new_size": "8 KiB", "to": "slot"}}],
         "moves memory to where a part of it is"),
    ],
)  # fmt: skip
def test_does_a_rehearsal_know_what_mremap_leaves(steps: list[dict[str, Any]], message: str | None) -> None:
    layout = {"request": "8 KiB", "stride": "1 MiB", "base": "4 GiB", "slots": 1}
    bare = {"requests": 1, "measured": None, "stack": None, "placements": None}
    fault = never_works(workload(thread=[{"mmap": {"at": "slot"}}, *steps], layout=layout, **bare), "")
    assert (None if fault is None else fault.message) == message


def test_does_a_buffer_grow_by_mremap() -> None:
    """Each thread doubles what it has mapped and touches all of it; on Linux it may move each time."""
    steps = [
        {"mmap": {"at": "anywhere", "size": "16 KiB"}},
        {"touch": {"at": "mapped"}},
        *[
            step
            for size in ("32 KiB", "64 KiB")
            for step in ({"mremap": {"at": "mapped", "new_size": size}}, {"touch": {"at": "mapped"}})
        ],
        {"munmap": {"at": "mapped"}},
    ]
    assert measure(workload(thread=steps), kind="linux", threads=3).operations == 12


def test_does_a_thread_note_where_the_heap_ends_and_come_back_to_it() -> None:
    assert calls(
        [
            {"brk": {"at": "break", "mark": True}},
            {"brk": {"at": "mark", "size": "5 KiB"}},
            {"brk": {"at": "mark"}},
            {"brk": {"at": "break", "size": "4 KiB"}},
        ]
    ) == [("brk", 0), ("brk", 500), ("brk", 502), ("brk", 500), ("brk", 0), ("brk", 501)]


def test_what_is_a_system_call_that_only_computes() -> None:
    """The machine's `syscall` and the work, in the kernel."""
    entry = measure(workload(thread=[{"syscall": "0 ns"}]), "linux").breakdown_ns_per_op["syscall"]
    point = measure(workload(thread=[{"syscall": "100 ns"}]), "linux")
    assert point.breakdown_ns_per_op["syscall"] == pytest.approx(entry + 100)
    assert entry > 0
    drawn = {"syscall": {"uniform": ["100 ns", "300 ns"]}}
    some = measure(workload(thread=[drawn], requests=8), "linux").breakdown_ns_per_op["syscall"]
    assert entry + 150 < some < entry + 250


@pytest.mark.parametrize("where", [{"at": "all mapped"}, {"at": "mapped", "every": 2}])
def test_is_process_madvise_one_call_of_all_its_ranges(where: dict[str, Any]) -> None:
    """The machine's `syscall` is charged for two mmaps and for it."""
    steps = [
        {"mmap": {"at": "anywhere", "size": "16 KiB"}},
        {"mmap": {"at": "anywhere", "size": "16 KiB", "prot": "r"}},
    ]
    without = measure(workload(thread=steps), "linux").breakdown_ns_per_op["syscall"]
    with_it = [*steps, {"process_madvise": where}]
    point = measure(workload(thread=with_it), "linux")
    one = measure(workload(thread=[*steps, {"syscall": "10 cycles"}]), "linux")
    assert point.breakdown_ns_per_op["syscall"] - without == pytest.approx(
        one.breakdown_ns_per_op["syscall"] - without
    )


def test_is_a_mark_noted_before_it_is_used() -> None:
    with pytest.raises(ValidationError, match="works at `mark` without a brk step with `mark: true` before"):
        plan(thread=[{"brk": {"at": "mark"}}, {"brk": {"at": "break", "mark": True}}])


def test_is_a_break_that_is_refused_a_failed_point_unless_it_may() -> None:
    steps: list[dict[str, Any]] = [{"brk": {"at": "break", "size": "1 TiB"}}]
    with pytest.raises(Refused, match="the heap cannot end at page"):
        measure(workload(thread=steps), kind="linux", threads=1)
    steps[0]["brk"]["may_fail"] = True
    assert measure(workload(thread=steps), kind="linux", threads=1).operations == 4


@pytest.mark.parametrize("workload", ["brk1", "brk2"])
@pytest.mark.parametrize("placement", ["threads", "processes"])
def test_does_brk_of_will_it_scale_run(workload: str, placement: str) -> None:
    """Threads of one process wait for each other. Processes share nothing but what the slabs hand out, which
    another cpu had before."""
    spec: Any = load_spec("workload", workload).spec
    one, two = (
        measure(spec, kind="linux", placement=placement, threads=threads, budget=Budget(10**7, 10**12))
        for threads in (1, 2)
    )
    gain = two.throughput_ops_per_us / one.throughput_ops_per_us
    assert gain == pytest.approx(2, rel=0.05) if placement == "processes" else gain < 1.7
