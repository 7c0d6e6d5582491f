"""Is what must fail said beforehand, with the key that was written, and does what is accepted run?"""

from __future__ import annotations

from typing import Any, cast

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from machines import raw_spec
from pydantic import ValidationError

from sim.designs import DesignSpec
from sim.errors import BudgetExceeded, InputError
from sim.files import load_spec, parse_override
from sim.hardware import MachineSpec
from sim.mm import SegmentationFault
from sim.workload import Budget, WorkloadSpec, foresee, lacking, never_works, simulate

BUDGET = Budget(events=200_000, simulated_ps=10**11)
LOOP: dict[str, Any] = {
    "name": "w",
    "title": "",
    "requests": 4,
    "measured": {"first": 1, "last": 3},
    "stack": {"size": "64 KiB", "touched": "1 page"},
    "layout": {"request": "16 KiB", "stride": "64 KiB", "order": "own"},
    "thread": [{"mmap": {"at": "anywhere"}}, {"touch": {"at": "mapped"}}],
    "placements": {"p": {}},
}
BENCH: dict[str, Any] = {
    "name": "b",
    "title": "",
    "lines": {"x": {}, "y": {"each_thread": "64 B"}},
    "channels": {"c": {"tokens": 1}},
    "locks": {"l": {"kind": "mcs"}, "r": {"kind": "phase-fair"}, "s": {"kind": "seqlock"}},
    "layout": {"request": "2 pages", "stride": "2 pages", "slots": 1, "base": "4 GiB"},
    "requests": 3,
}
NO_MEMORY = {"layout": None}


def machine(**changes: Any) -> MachineSpec:
    return MachineSpec.model_validate(raw_spec(changes))


def workload(**changes: Any) -> WorkloadSpec:
    return WorkloadSpec.model_validate({**LOOP, **changes}, strict=False)


def bench(*roles: tuple[str, list[dict[str, Any]]], **changes: Any) -> WorkloadSpec:
    prepare = [{"mmap": {"at": "own slots"}}] if changes.get("layout", True) else []
    written = [{"who": who, "prepare": prepare, "steps": steps} for who, steps in roles]
    return WorkloadSpec.model_validate({**BENCH, "roles": written, **changes}, strict=False)


def design(name: str) -> DesignSpec:
    return cast(DesignSpec, load_spec("design", name).spec)


@pytest.mark.parametrize(
    ("changes", "threads", "key", "says"),
    [
        ({"layout": {"request": "16 KiB", "stride": "32 KiB", "order": "own"}}, 1, "layout.stride", "4 s"),
        ({"layout": {**LOOP["layout"], "order": "shuffled", "leaves": 2}}, 3, "layout.leaves", "12 slots"),
        ({"stack": {"size": "2 pages", "touched": "3 pages"}}, 1, "stack.touched", "not mapped"),
        ({"stack": {"size": "0 B", "touched": "0 B"}}, 1, "stack.size", "maps nothing"),
        (
            {"thread": [*LOOP["thread"], {"munmap": {"at": "mapped"}}, {"touch": {"at": "mapped"}}]},
            1, "thread[3]", "not mapped",
        ),
        (
            {"layout": {**LOOP["layout"], "base": "4 GiB"}, "thread": [{"touch": {"at": "slot"}}]},
            1, "thread[0]", "not mapped",
        ),
        (
            {"thread": [{"mmap": {"at": "anywhere"}}, {"touch": {"at": "mapped", "size": "64 KiB"}}]},
            2, "thread[1]", "not mapped",
        ),
        (
            {
                "layout": {"request": "4 KiB", "stride": "2 MiB", "order": "own"},
                "thread": [{"mmap": {"at": "layout", "size": "4 KiB"}}, {"munmap": {"at": "slot"}}],
            },
            2, "thread[1]", "128 TiB",  # the last thread's slot: the kernel puts a mapping below the top
        ),
        *(
            (
                {
                    "layout": {"request": "4 KiB", "stride": stride, "base": "4 GiB", "order": "own"},
                    "thread": [{"mmap": {"at": "slot"}}, {step: {"at": at, **more}}],
                },
                threads, "thread[1]", "not mapped",
            )
            for threads in (1, 2)
            for stride, at, more in [
                ("64 KiB", "layout", {}),  # nobody maps what lies between the slots
                ("16 KiB", "every slot", {}),  # its own later ones are not mapped yet
            ]
            for step in ("touch", "mlock")
        ),
        ({"thread": [{"mmap": {"at": "anywhere", "size": "0 B"}}]}, 1, "thread[0]", "maps nothing"),
        ({"layout": {**LOOP["layout"], "stride": "100 TiB"}}, 2, "layout.stride", "128 TiB"),
        ({"thread": [{"mmap": {"at": "anywhere", "size": "40 TiB"}}]}, 1, "thread[0]", "128 TiB"),
        ({"layout": {**LOOP["layout"], "request": "32 MiB", "stride": "1 GiB"}}, 1, "layout.request", "hold"),
        ({"layout": {**LOOP["layout"], "request": "12 MiB", "stride": "1 GiB"}}, 2, "layout.request", "hold"),
        (
            {
                "layout": {**LOOP["layout"], "request": "32 MiB", "stride": "128 MiB"},
                "setup": [{"mmap": {"at": "layout", "populated": True}}],
                "thread": [{"munmap": {"at": "slot"}}],
            },
            1, "layout.request", "holds 128 MiB at once",
        ),
        ({"pinning": [0]}, 2, "pinning", "1 cpus are listed"),
        ({"memory": {"bind": 9}}, 1, "memory", "no such NUMA node"),
    ],
)  # fmt: skip
def test_what_is_said_of_a_workload_that_cannot_run(
    changes: dict[str, Any], threads: int, key: str, says: str
) -> None:
    """On a machine of 2 nodes of 32 MiB."""
    small = machine(memory={"size_per_socket": "32 MiB"})
    fault = foresee(small, workload(**changes), "p", [threads])
    assert fault is not None
    assert (fault.key, says in fault.message) == (key, True)
    if threads > 1 and "hold" in says:
        assert foresee(small, workload(**changes), "p", [1]) is None


def test_is_memory_populated_in_a_set_up_and_nowhere_else() -> None:
    populated = {"mmap": {"at": "own slots", "populated": True}}
    role = {"who": "all", "prepare": [populated], "steps": [{"touch": {"at": "slot"}}]}
    layout = {**LOOP["layout"], "base": "4 GiB"}
    assert foresee(machine(), workload(thread=None, roles=[role], layout=layout), "p", [1]) is None
    with pytest.raises(ValidationError, match="`populated` belongs to a set-up"):
        workload(thread=[{"repeat": {"times": 2, "steps": [populated]}}])


COMPUTE, WAIT = {"compute": "1 us"}, {"barrier": "10 ns"}
LOCK, UNLOCK = {"lock": "l"}, {"unlock": "l"}


@pytest.mark.parametrize(
    ("roles", "threads", "key", "says"),
    [
        ([("others", [COMPUTE])], 1, "roles", "no role fits thread 0 of 1"),
        ([("alone", [COMPUTE])], 2, "roles", "no role fits thread 0 of 2"),
        ([("all", [UNLOCK])], 1, "roles[0].steps[0].unlock", "not locked here"),
        ([("all", [LOCK, COMPUTE])], 1, "roles[0].steps[0].lock", "still held"),
        ([("all", [LOCK, LOCK, UNLOCK])], 1, "roles[0].steps[1].lock", "which this thread holds"),
        ([("all", [{"read_lock": "r"}])], 1, "roles[0].steps", "still held for reading"),
        ([("all", [{"read_unlock": "r"}])], 1, "roles[0].steps[0].read_unlock", "not locked for reading"),
        ([("all", [{"lock": "r"}, {"read_lock": "r"}])], 1, "roles[0].steps[1].read_lock", "holds"),
        (
            [("all", [{"seq_read": {"lock": "s", "steps": [{"lock": "s"}, {"unlock": "s"}]}}])],
            1, "roles[0].steps[0].seq_read.steps[0].lock", "begins again for ever",
        ),
        ([("all", [{"free": {"count": 1}}])], 1, "roles[0].steps[0].free", "gives back 1 blocks where 0"),
        (
            [("all", [{"allocate": {"count": 1, "order": 1}}, {"free": {"count": 1}}])],
            1, "roles[0].steps[1].free", "taken with order 1",
        ),
        ([("first", [COMPUTE, WAIT]), ("all", [COMPUTE])], 2, "roles[1].steps", "the barrier 0 times"),
        ([("first", [{"turn": "x"}]), ("all", [COMPUTE])], 2, "roles[1].steps", "its turn at x 0 times"),
        ([("all", [LOCK, WAIT, UNLOCK])], 2, "roles[0].steps[1].barrier", "with l held"),
        ([("all", [{"compute": "0 cycles"}])], 1, "roles[0].steps", "take no time"),
        ([("all", [{"read_dram": 1}])], 1, "roles[0].steps[0].read_dram", "DRAM channels"),
        ([("all", [{"clear": {"node": 7}}])], 1, "roles[0].steps[0]", "NUMA node"),
    ],
)  # fmt: skip
def test_what_is_said_of_a_bench_that_cannot_run(
    roles: list[tuple[str, list[dict[str, Any]]]], threads: int, key: str, says: str
) -> None:
    fault = foresee(machine(), bench(*roles), "", [threads])
    assert fault is not None
    assert (fault.key, says in fault.message) == (key, True), fault


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        ({"lines": {"x": {"home": 2}}, "locks": {}}, "lines.x.home"),
        ({"locks": {"l": {"kind": "mcs", "home": 5}}}, "locks.l.home"),
        (
            {"requests": None, "window": {"warm_up": "0.1 us", "length": "0.5 us", "skew": "1 ns"}},
            "window.length",
        ),
        ({"layout": {"request": "640 TiB", "stride": "640 TiB"}}, "layout.stride"),
        (
            {"requests": 2000, "roles": [{"who": "all", "steps": [{"allocate": {"count": 9, "order": 10}}]}]},
            "roles[0].steps",
        ),
        ({"roles": [{"who": "all", "measured": False, "steps": [COMPUTE]}]}, "roles"),
    ],
)
def test_what_is_said_of_the_rest_of_a_bench(changes: dict[str, Any], key: str) -> None:
    spec = WorkloadSpec.model_validate(
        {**BENCH, "roles": [{"who": "all", "steps": [COMPUTE]}], **changes}, strict=False
    )
    fault = foresee(machine(), spec, "", [1])
    assert fault is not None
    assert fault.key == key


def test_is_a_hand_over_by_barrier_let_through() -> None:
    """One holds the lock while the others come: they take it after the barrier only, which works."""
    first, others = [LOCK, WAIT, COMPUTE, UNLOCK], [WAIT, LOCK, UNLOCK]
    spec = bench(("first", first), ("others", others), requests=1, **NO_MEMORY)
    assert foresee(machine(), spec, "", [1, 2, 4]) is None
    assert simulate(
        machine(), design("lock"), spec, placement="", threads=4, seed=1, budget=BUDGET
    ).operations


@pytest.mark.parametrize("threads", [2, 4])
@pytest.mark.parametrize("meeting", [WAIT, {"turn": "x"}])
def test_is_nobody_waited_for_whose_window_is_over(meeting: dict[str, Any], threads: int) -> None:
    """One thread does 5 us of work between two meetings: the others come back before its window ends."""
    window = {"warm_up": "5 us", "length": "20 us", "skew": "1 us"}
    spec = bench(
        ("first", [meeting, {"compute": "5 us"}]),
        ("others", [meeting]),
        requests=None,
        window=window,
        **NO_MEMORY,
    )
    assert foresee(machine(), spec, "", [threads]) is None
    run = simulate(machine(), design("lock"), spec, placement="", threads=threads, seed=1, budget=BUDGET)
    assert 3 * threads <= run.operations <= 6 * threads


def test_is_a_layout_too_short_for_the_last_thread_s_window_refused() -> None:
    """The set-up maps the window of one thread; nobody maps the second one's."""
    spec = workload(
        layout={"request": "4 KiB", "stride": "64 KiB"},
        setup=[{"mmap": {"at": "layout", "size": "64 KiB"}}],
        thread=[{"touch": {"at": "slot"}}],
    )
    assert foresee(machine(), spec, "p", [1]) is None
    fault = foresee(machine(), spec, "p", [2])
    assert fault is not None
    assert fault.key == "thread[0]"


def test_does_a_design_that_cannot_place_memory_say_so() -> None:
    placed = bench(("all", [COMPUTE]), memory="interleave")
    assert lacking(design("hardware"), placed) == ["mmap", "munmap", "placed memory"]
    assert lacking(design("linux-6.13"), placed) == []
    assert lacking(design("cortenmm-adv"), workload(memory="interleave")) == []


def test_is_an_operation_without_a_handler_named() -> None:
    several = bench(("all", [COMPUTE, {"switch_mm": "next"}]), processes=2)
    assert lacking(design("linux-6.13"), several) == []
    assert lacking(design("lock"), several) == ["mmap", "munmap", "switch_mm"]
    locks = workload(thread=[{"mmap": {"at": "anywhere"}}, {"mlock": {"at": "mapped"}}])
    artifact = design("cortenmm-adv").model_copy(update={"source": "artifact"})
    assert lacking(artifact, locks) == ["mlock"]
    assert lacking(design("cortenmm-adv"), locks) == []
    assert lacking(design("linux-6.13"), locks) == []


@pytest.mark.parametrize(("who", "never"), [("others", True), ("alone", False), ("even", False)])
def test_is_a_bench_that_works_for_some_number_of_threads_let_through(who: str, never: bool) -> None:
    assert (never_works(bench((who, [COMPUTE])), "") is not None) == never
    assert never_works(bench((who, [UNLOCK])), "") is not None


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ("latr_tick=0 ns", "too small"),
        ("limits.frame_refill=4000", "more frames are moved at once"),
        ("limits.frame_cache=3", "more frames are moved at once"),
    ],
)
def test_is_a_design_refused_that_would_divide_by_zero_or_run_dry(change: str, says: str) -> None:
    with pytest.raises(InputError, match=says):
        load_spec("design", "cortenmm-adv", [parse_override(f"design.{change}", "--set")])


def test_is_a_lock_refused_whose_clock_does_not_tick() -> None:
    lock = {"l": {"kind": "percpu-rwsem", "tick": "0 ns"}}
    with pytest.raises(ValueError, match="greater than 0"):
        bench(("all", [LOCK, COMPUTE, UNLOCK]), locks=lock)


# -- whatever is accepted runs ------------------------------------------------------------------------------

AT = st.sampled_from(["slot", "mapped", "layout", "every slot"])
OF_OTHERS = ("layout", "every slot")
MAP_AT = st.sampled_from(["anywhere", "slot", "layout"])
SIZE = st.sampled_from([None, "4 KiB", "16 KiB", "40 KiB"])


def _action(at: str, size: str | None) -> dict[str, Any]:
    return {"at": at} | ({"size": size} if size else {})


STEP = st.one_of(
    st.builds(lambda at, size: {"mmap": _action(at, size)}, MAP_AT, SIZE),
    st.builds(lambda at, size: {"munmap": _action(at, size)}, AT, SIZE),
    st.builds(lambda at, size: {"touch": _action(at, size)}, AT, SIZE),
    st.just({"compute": {"time": "1 us"}}),
)  # fmt: skip
LAYOUT = st.fixed_dictionaries(
    {
        "request": st.sampled_from(["4 KiB", "16 KiB"]),
        "stride": st.sampled_from(["16 KiB", "64 KiB", "2 MiB"]),
        "order": st.sampled_from(["own", "shuffled"]),
    },
    optional={"base": st.just("4 GiB"), "leaves": st.integers(1, 3), "reserve": st.integers(1, 2)},
)
WORKLOAD = st.fixed_dictionaries(
    {"layout": LAYOUT, "setup": st.lists(STEP, max_size=3), "thread": st.lists(STEP, min_size=1, max_size=4)},
    optional={
        "memory": st.sampled_from(["interleave", {"bind": 0}]),
        "pinning": st.sampled_from([[1], [3, 0]]),
    },
)
BENCH_STEP = st.sampled_from(
    [
        {"load": "x"}, {"add": "y"}, {"turn": "x"}, LOCK, UNLOCK, {"read_lock": "r"}, {"read_unlock": "r"},
        {"lock": "s"}, {"unlock": "s"}, {"seq_read": {"lock": "s", "steps": [{"load": "x"}]}}, COMPUTE, WAIT,
        {"compute": "0 cycles"}, {"sleep": "2 us"}, {"allocate": {"count": 2}}, {"free": {"count": 1}},
        {"touch": {"at": "slot"}}, {"madvise": {"at": "slot"}}, {"timed": [{"load": "x"}]},
        {"clear": {"node": "remote"}}, {"read_dram": 1}, {"touch": {"at": "slot", "of": "next"}},
        {"repeat": {"times": 3, "steps": [COMPUTE, LOCK, UNLOCK]}}, {"repeat": {"times": 2, "steps": [WAIT]}},
        {"maybe": {"probability": 0.5, "steps": [{"load": "x"}], "otherwise": [COMPUTE]}},
        {"maybe": {"probability": 0.5, "steps": [LOCK]}}, {"send": "c"}, {"receive": "c"},
    ]
)  # fmt: skip
ROLE = st.tuples(
    st.sampled_from(["all", "all", "first", "others", "even", "alone"]),
    st.lists(BENCH_STEP, min_size=1, max_size=4),
)
END = st.sampled_from(
    [{"requests": 3}, {"requests": None, "window": {"warm_up": "5 us", "length": "20 us", "skew": "1 us"}}]
)
QUICK = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
DESIGNS = {name: design(name) for name in ("linux-6.13", "linux-5.1", "cortenmm-adv", "cortenmm-rw")}


@QUICK
@given(raw=WORKLOAD, threads=st.sampled_from([1, 2]), name=st.sampled_from(sorted(DESIGNS)))
def test_does_a_workload_that_is_accepted_run(raw: dict[str, Any], threads: int, name: str) -> None:
    try:
        spec = workload(**raw)
    except ValueError:
        return  # refused as it is read
    fault = foresee(machine(), spec, "p", [threads])
    if fault is not None:
        assert fault.key
        assert fault.key.partition(".")[0].partition("[")[0] in {*LOOP, "setup", "memory", "pinning"}
        return
    try:
        run = simulate(machine(), DESIGNS[name], spec, placement="p", threads=threads, seed=1, budget=BUDGET)
    except BudgetExceeded:
        return
    except SegmentationFault:
        # Who touches what others map may come before they do, or after it is unmapped: nobody foresees when.
        assert threads > 1
        assert any(each.get("at") in OF_OTHERS for step in raw["thread"] for each in step.values())
        return
    assert run.operations


@QUICK
@given(roles=st.lists(ROLE, min_size=1, max_size=2), threads=st.sampled_from([1, 2]), end=END)
def test_does_a_bench_that_is_accepted_run(
    roles: list[tuple[str, list[dict[str, Any]]]], threads: int, end: dict[str, Any]
) -> None:
    spec = bench(*roles, **end)
    fault = foresee(machine(), spec, "", [threads])
    if fault is not None:
        assert fault.key
        assert fault.key.partition(".")[0].partition("[")[0] in {*BENCH, "roles"}
        return
    linux = DESIGNS["linux-6.13"]
    if lacking(linux, spec):
        return
    try:
        assert simulate(
            machine(), linux, spec, placement="", threads=threads, seed=1, budget=BUDGET
        ).operations
    except InputError as error:
        raise AssertionError(f"refused too late: {error}") from error
    except BudgetExceeded:
        return


def test_is_the_end_of_a_long_round_looked_at() -> None:
    """The layout is mapped but for its last slot."""
    changes = {
        "layout": {"request": "4 KiB", "stride": "20000 KiB", "order": "own"},
        "requests": 5000,
        "setup": [{"mmap": {"at": "layout", "size": "4999 pages"}}],
        "thread": [{"touch": {"at": "slot"}}],
    }
    fault = never_works(workload(**changes), "p")
    assert fault is not None
    assert (fault.key, "not mapped" in fault.message) == ("thread[0]", True)
    whole = {**changes, "setup": [{"mmap": {"at": "layout"}}]}
    assert never_works(workload(**whole), "p") is None


def test_is_a_slot_that_the_set_up_maps_that_of_the_first_thread_alone() -> None:
    changes = {
        "layout": {"request": "4 KiB", "stride": "16 KiB", "order": "own", "base": "4 GiB"},
        "setup": [{"mmap": {"at": "slot", "size": "16 KiB"}}],
        "thread": [{"touch": {"at": "slot"}}],
    }
    assert foresee(machine(), workload(**changes), "p", [1]) is None
    fault = foresee(machine(), workload(**changes), "p", [2])
    assert fault is not None
    assert (fault.key, "not mapped" in fault.message) == ("thread[0]", True)
