"""Does a fork step run its child to the end, in a space of its own, and come back to the parent?"""

from __future__ import annotations

from typing import Any

import pytest
from kernels import design
from machines import raw_spec
from plain import measure, workload
from pydantic import ValidationError

from sim.engine import Probe
from sim.engine.probe import CpuView
from sim.hardware import MachineSpec
from sim.mm import Exec, Exit, Fork, Mmap, Munmap, SwitchMm, Touch, Vfork
from sim.workload.demands import lacking, misfit, never_works


class Asked(Probe):
    """What was asked, in order, and how often cpus switched."""

    def __init__(self) -> None:
        self.kinds: list[type] = []
        self.switches = 0

    def operation_begins(self, cpu: CpuView, operation: object) -> None:
        self.kinds.append(type(operation))

    def context_switch(self, cpu: CpuView) -> None:
        self.switches += 1


def forking(*steps: dict[str, Any], exec_first: bool = False) -> Any:
    return workload(
        stack=None,
        layout=None,
        measured=None,
        pooled_threads=None,
        requests=2,
        placements={},
        thread=[
            {"mmap": {"at": "anywhere", "size": "16 KiB"}},
            {"touch": {"at": "mapped"}},
            {"fork": {"exec": exec_first, "steps": list(steps)}},
            {"touch": {"at": "mapped"}},
            {"munmap": {"at": "mapped"}},
        ],
    )


@pytest.mark.parametrize("exec_first", [False, True])
def test_what_does_a_fork_come_to(exec_first: bool) -> None:
    asked = Asked()
    inside = [{"mmap": {"at": "anywhere", "size": "8 KiB"}}, {"touch": {"at": "mapped"}}]
    measure(forking(*inside, exec_first=exec_first), "linux", placement="", threads=1, probe=asked)
    wanted = {Fork, SwitchMm, Exec, Mmap, Exit, Munmap}
    once = [Mmap, Fork, SwitchMm, *([Exec] if exec_first else []), Mmap, Exit, SwitchMm, Munmap]
    assert [kind for kind in asked.kinds if kind in wanted] == 2 * once
    assert asked.switches == 4


def test_does_the_parent_copy_what_it_shares_with_a_child_and_not_later() -> None:
    """A page that both have is copied by whoever writes it first: here the child, so the parent does not."""

    class Copies(Probe):
        def __init__(self) -> None:
            self.sources: list[int | None] = []

        def frame_filled(self, cpu: CpuView, frame: int, source: int | None) -> None:
            self.sources.append(source)

    copies = Copies()
    measure(forking({"touch": {"at": "mapped"}}), "linux", placement="", threads=1, probe=copies)
    assert sum(source is not None for source in copies.sources) == 2 * 4
    idle = Copies()
    measure(forking(), "linux", placement="", threads=1, probe=idle)
    assert all(source is None for source in idle.sources)


def beside(*steps: dict[str, Any], then: list[dict[str, Any]] | None = None, **options: Any) -> Any:
    """Two requests of a thread whose child does *steps* while it computes."""
    after = [{"compute": "50 us"}] if then is None else then
    changes: dict[str, Any] = {
        "stack": None,
        "layout": None,
        "measured": None,
        "pooled_threads": None,
        "requests": 2,
        "placements": {},
        "thread": [
            {"mmap": {"at": "anywhere", "size": "16 KiB"}},
            {"touch": {"at": "mapped"}},
            {"fork": {"wait": False, "steps": list(steps), **options.pop("fork", {})}},
            *after,
            {"wait": "all"},
            {"munmap": {"at": "mapped"}},
        ],
    }
    return workload(**{**changes, **options})


class Where(Probe):
    """On which cpu each operation begins and ends, and when."""

    def __init__(self) -> None:
        self.begun: list[tuple[type, int, int]] = []
        self.ended: list[tuple[type, int, int]] = []
        self.slept: list[str] = []

    def operation_begins(self, cpu: CpuView, operation: object) -> None:
        self.begun.append((type(operation), cpu.id, cpu.now))

    def operation_ends(self, cpu: CpuView, operation: object) -> None:
        self.ended.append((type(operation), cpu.id, cpu.now))

    def sleep(self, cpu: CpuView, reason: str) -> None:
        self.slept.append(reason)

    def of(self, kind: type) -> list[tuple[int, int]]:
        """Cpu and begin of each operation of this *kind*."""
        return [(cpu, time) for asked, cpu, time in self.begun if asked is kind]


SHARING = {"kernel": {"slice": "1 ms", "tick": "1 ms"}}


def test_does_a_child_run_beside_its_parent() -> None:
    """On a cpu of its own, and copies what the parent copies at the same time, once each."""
    where = Where()
    done = measure(
        beside({"touch": {"at": "mapped"}}, then=[{"touch": {"at": "mapped"}}]),
        "linux",
        placement="",
        threads=1,
        probe=where,
    )
    assert [cpu for cpu, _ in where.of(Fork)] == [0, 0]
    assert [cpu for cpu, _ in where.of(Exit)] == [1, 1]
    assert [cpu for cpu, _ in where.of(Munmap)] == [0, 0]
    (_, begun), *_ = where.of(Fork)
    touches = [(cpu, time) for cpu, time in where.of(Touch) if begun < time < where.of(Munmap)[0][1]]
    assert [cpu for cpu, _ in touches] == [0, 1]
    assert where.slept == ["the end of child 1 of thread 0", "the end of child 2 of thread 0"]
    assert done.breakdown_ns_per_op["wait: child"] > 0


def test_does_a_parent_that_waits_for_one_that_has_ended_go_on() -> None:
    where = Where()
    measure(beside(then=[{"compute": "10 ms"}]), "linux", placement="", threads=1, probe=where)
    assert where.slept == []


def test_are_children_and_threads_in_turn_where_no_cpu_is_free() -> None:
    """The child runs when its parent waits; its work and that of its parent are one after the other."""
    where = Where()
    measure(
        beside({"compute": "30 us"}, cpus=1), "linux", placement="", threads=1, machine=SHARING, probe=where
    )
    assert {cpu for _, cpu, _ in where.begun} == {0}
    assert len(where.slept) == 2
    crowd = Where()
    two = [{"fork": {"wait": False, "steps": [{"compute": "5 ms"}]}} for _ in range(2)]
    spec = beside({"compute": "5 ms"}, then=two, pinning=[0, 1])
    measure(spec, "linux", placement="", threads=1, machine=SHARING, probe=crowd)
    assert sorted(cpu for cpu, _ in crowd.of(Exit)) == [0, 0, 0, 0, 1, 1]


def test_does_a_fork_on_a_shared_cpu_come_to_the_same_as_on_an_own_one() -> None:
    """Three threads on one cpu fork and wait: each child has its own memory, whoever runs in between."""
    spec = forking({"touch": {"at": "mapped"}}, {"compute": "3 ms"})
    shared = spec.model_copy(update={"cpus": 1})
    where = Where()
    measure(shared, "linux", placement="", threads=3, machine=SHARING, probe=where)
    assert len(where.of(Exit)) == 6
    assert len(where.slept) == 6


def test_do_children_have_children() -> None:
    where = Where()
    inner = [{"fork": {"wait": False, "steps": [{"touch": {"at": "mapped"}}]}}, {"wait": "child"}]
    measure(beside(*inner), "linux", placement="", threads=1, probe=where)
    assert sorted(cpu for cpu, _ in where.of(Exit)) == [1, 1, 2, 2]


def test_does_a_child_that_executes_a_program_begin_with_nothing() -> None:
    where = Where()
    inside = [{"mmap": {"at": "anywhere", "size": "8 KiB"}}, {"touch": {"at": "mapped"}}]
    measure(beside(*inside, fork={"exec": True}), "linux", placement="", threads=1, probe=where)
    assert [cpu for cpu, _ in where.of(Exec)] == [1, 1]


@pytest.mark.parametrize("wait", [True, False])
def test_does_a_parent_sleep_until_its_borrower_has_executed(wait: bool) -> None:
    """vfork copies nothing, and the memory is the parent's again."""
    where = Where()
    inside = [{"mmap": {"at": "anywhere", "size": "8 KiB"}}, {"touch": {"at": "mapped"}}, {"compute": "1 ms"}]
    step = {"fork": {"wait": wait, "exec": True, "vfork": True, "steps": inside}}
    waits = [] if wait else [{"wait": "child"}]
    touch: dict[str, Any] = {"touch": {"at": "mapped"}}
    start: list[dict[str, Any]] = [{"mmap": {"at": "anywhere", "size": "16 KiB"}}, touch]
    measure(
        beside(thread=[*start, step, touch, *waits, {"munmap": {"at": "mapped"}}]),
        "linux",
        placement="",
        threads=1,
        probe=where,
    )
    assert (len(where.of(Vfork)), len(where.of(Fork)), len(where.of(Exec))) == (2, 0, 2)
    if not wait:
        (_, _, executed), *_ = [ended for ended in where.ended if ended[0] is Exec]
        on = next(time for cpu, time in where.of(Touch) if cpu == 0 and time > where.of(Vfork)[0][1])
        (_, over), *_ = where.of(Exit)
        assert executed < on < over
        assert where.slept[:2] == ["the program of child 1 of thread 0", "the end of child 1 of thread 0"]


def test_may_a_child_with_borrowed_memory_do_nothing_but_execute() -> None:
    with pytest.raises(ValidationError, match="`vfork` belongs to `exec: true`"):
        beside(thread=[{"fork": {"vfork": True}}])


@pytest.mark.parametrize(
    ("steps", "key", "message"),
    [
        ([{"wait": "child"}], "thread[0].wait", "there is no child to wait for"),
        ([{"fork": {"wait": False}}], "thread", "nobody has waited for a child"),
        (
            [{"fork": {"wait": False, "steps": [{"barrier": "1 us"}]}}, {"wait": "all"}],
            "thread[0].fork.steps[0].barrier",
            "a child that runs beside its parent cannot `barrier`",
        ),
        (
            [{"maybe": {"probability": 0.5, "steps": [{"fork": {"wait": False}}]}}, {"wait": "all"}],
            "thread[0].maybe",
            "must wait for the children that they fork",
        ),
        (
            [{"fork": {"wait": False, "steps": [{"fork": {"wait": False}}]}}, {"wait": "all"}],
            "thread[0].fork.steps",
            "nobody has waited for a child",
        ),
    ],
)
def test_is_waiting_that_cannot_work_refused(steps: list[Any], key: str, message: str) -> None:
    fault = never_works(beside(thread=steps), "")
    assert fault is not None
    assert fault.key == key
    assert message in fault.message


def test_are_children_refused_where_threads_only_prepare() -> None:
    role = {"who": "all", "prepare": [{"fork": {"wait": False}}, {"wait": "all"}], "steps": [{"fork": {}}]}
    fault = never_works(beside(thread=None, roles=[role]), "")
    assert fault is not None
    assert fault.key == "roles[0].prepare[0].fork"


def test_is_a_machine_without_slices_refused_where_children_share_cpus() -> None:
    machine = MachineSpec.model_validate(raw_spec())
    fault = misfit(machine, beside(), "", machine.cpus)
    assert fault is not None
    assert fault.key == "thread[2].fork"
    assert misfit(machine, beside(), "", machine.cpus // 2) is None


def test_may_a_child_not_touch_what_it_has_lost() -> None:
    fault = never_works(forking({"touch": {"at": "mapped"}}, exec_first=True), "")
    assert fault is not None
    assert (fault.key, fault.message) == ("thread[2].fork.steps[0]", "touches pages that are not mapped")
    assert never_works(forking({"munmap": {"at": "mapped"}}), "") is None  # the parent still has it


def test_is_a_design_refused_that_does_not_fork() -> None:
    assert {"fork", "exit"} <= set(lacking(design("tlb-ipi"), forking()))
    assert lacking(design("linux"), forking()) == lacking(design("adv"), forking()) == []
