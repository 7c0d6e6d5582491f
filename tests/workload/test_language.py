"""The step language: loops, chance, random values, slots, channels, roles, processes, parameters."""

from __future__ import annotations

import re
from collections import Counter
from typing import Any, cast

import pytest
from kernels import design
from machines import Tally, raw_spec
from pydantic import ValidationError

from sim.engine import QUIET, Probe, listen
from sim.engine.probe import CpuView
from sim.hardware import MachineSpec
from sim.mm import Madvise, Mmap, Touch
from sim.workload import Budget, Measurement, WorkloadSpec, foresee, in_new_form, simulate

BUDGET = Budget(events=5_000_000, simulated_ps=10**12)
PAGE = 4096


def workload(*steps: dict[str, Any], **fields: Any) -> WorkloadSpec:
    """Threads that each do *steps* once, or what *fields* say instead."""
    raw = {"name": "w", "title": "", "requests": 1, **({"thread": list(steps)} if steps else {}), **fields}
    return WorkloadSpec.model_validate(raw, strict=False)


def run(
    spec: WorkloadSpec, threads: int = 1, kind: str = "linux", probe: Probe = QUIET, **changes: Any
) -> Measurement:
    machine = MachineSpec.model_validate(raw_spec(changes))
    return simulate(
        machine, design(kind), spec, placement="", threads=threads, seed=1, budget=BUDGET, probe=probe
    )


def compute(time: Any) -> dict[str, Any]:
    return {"compute": time}


def repeat(times: Any, *steps: dict[str, Any]) -> dict[str, Any]:
    return {"repeat": {"times": times, "steps": list(steps)}}


class Asked(Probe):
    """The operations that threads asked for, with the number of their cpu."""

    def __init__(self) -> None:
        self.operations: list[tuple[int, Any]] = []

    def operation_begins(self, cpu: CpuView, operation: object) -> None:
        self.operations.append((cpu.id, operation))

    def of(self, kind: type, cpu: int | None = None) -> list[Any]:
        return [one for here, one in self.operations if isinstance(one, kind) and cpu in (None, here)]


REGION: dict[str, Any] = {
    "layout": {"request": "16 pages", "stride": "16 pages", "base": "4 GiB"},
    "setup": [{"mmap": {"at": "layout"}}],
}
FIRST = (4 << 30) // PAGE
"""The first page of the layout."""


# -- loops, chance, random values ---------------------------------------------------------------------------


def test_is_a_loop_so_many_times_its_steps() -> None:
    loop = repeat(5, compute("3 us"), repeat(2, compute("1 us")))
    assert run(workload(loop)).latency_mean_ns == 5 * (3_000 + 2 * 1_000)


def test_are_the_two_sides_of_a_chance_as_likely_as_the_file_says() -> None:
    """400 draws: 25 % of 100 ns, 75 % of 20 ns; three standard deviations are 6.5 points."""
    chance = {"probability": 0.25, "steps": [compute("100 ns")], "otherwise": [compute("20 ns")]}
    mean = run(workload({"maybe": chance}, requests=400)).latency_mean_ns
    assert (mean - 20) / 80 == pytest.approx(0.25, abs=0.065)


@pytest.mark.parametrize(
    ("time", "mean", "spread", "values"),
    [
        ({"uniform": ["100 ns", "300 ns"]}, 200, 58, None),
        ({"exponential": "200 ns"}, 200, 200, None),
        ({"choice": ["100 ns", "500 ns"], "weights": [3, 1]}, 200, 173, {100.0, 500.0}),
    ],
)
def test_have_random_times_the_distribution_that_is_named(
    time: dict[str, Any], mean: float, spread: float, values: set[float] | None
) -> None:
    """The mean of 900 draws lies within four of its standard deviations."""
    point = run(workload({"compute": time}, requests=900))
    assert point.latency_mean_ns == pytest.approx(mean, abs=4 * spread / 30)
    if values:
        assert {point.latency_p50_ns, point.latency_p99_ns} == values


def test_does_a_thread_draw_the_same_whatever_the_others_do() -> None:
    """Thread 0 is measured; a second one that draws as well changes nothing for it."""
    draw = {"compute": {"exponential": "1 us"}}
    roles = [{"who": "first", "steps": [draw]}, {"who": "others", "measured": False, "steps": [draw]}]
    assert (
        run(workload(roles=roles, requests=20)).latency_mean_ns
        == run(workload(roles=roles, requests=20), threads=2).latency_mean_ns
    )


def test_have_streams_of_two_names_nothing_to_do_with_each_other() -> None:
    def mean(*streams: str) -> float:
        steps = [{"compute": {"uniform": ["0 ns", "1 us"], "stream": name}} for name in streams]
        return run(workload(*steps, requests=10)).latency_mean_ns

    assert mean("a", "b") == pytest.approx(mean("a") + mean("b"))
    assert mean("a", "a") != pytest.approx(2 * mean("a"))


def test_are_sizes_and_counts_drawn_too() -> None:
    asked = Asked()
    steps = [
        {"mmap": {"at": "anywhere", "size": {"choice": ["4 KiB", "12 KiB"]}}},
        repeat({"uniform": [0, 3]}, {"touch": {"at": "mapped", "pages": 1}}),
    ]
    run(workload(*steps, requests=60), probe=listen(asked))
    assert {one.pages for one in asked.of(Mmap)} == {1, 3}
    assert 60 < len(asked.of(Touch)) < 120


# -- where steps work ---------------------------------------------------------------------------------------


def touched(step: dict[str, Any], thread: int, threads: int = 3, **fields: Any) -> list[list[int]]:
    """The pages that each touch of *thread* is of, counted from the layout's begin."""
    asked = Asked()
    run(workload({"touch": {"at": "slot", **step}}, **{**REGION, **fields}), threads, probe=listen(asked))
    return [[page - FIRST for page in one.pages] for one in asked.of(Touch, thread)]


@pytest.mark.parametrize(
    ("of", "thread", "first"), [("own", 1, 16), ("next", 1, 32), ("next", 2, 0), ("first", 2, 0)]
)
def test_whose_slot_is_it(of: str, thread: int, first: int) -> None:
    assert touched({"of": of, "pages": 2}, thread) == [[first, first + 1]]


def test_is_any_slot_at_times_each() -> None:
    found = touched({"of": "any", "pages": 1}, 0, requests=40, layout={**REGION["layout"], "slots": 1})
    assert {pages[0] for pages in found} == {0, 16, 32}


def test_are_slots_new_for_each_request_or_used_again() -> None:
    layout = {"request": "1 page", "stride": "16 pages", "base": "4 GiB"}
    new = touched({}, 1, requests=4, layout=layout)
    again = touched({}, 1, requests=4, layout={**layout, "slots": 2})
    always = touched({"which": "first"}, 1, requests=4, layout=layout)
    assert [pages[0] for pages in new] == [16, 17, 18, 19]
    assert [pages[0] for pages in again] == [16, 17, 16, 17]
    assert [pages[0] for pages in always] == [16] * 4


def test_in_which_order_are_pages_touched() -> None:
    assert touched({"every": 5}, 0) == [[0, 5, 10, 15]]
    assert touched({"every": 5, "pages": 2}, 0) == [[0, 5]]
    (random,) = touched({"order": "random"}, 0)
    assert random != sorted(random) == list(range(16))


def test_is_advice_for_pages_apart_a_call_for_each() -> None:
    asked = Asked()
    steps = [{"madvise": {"at": "slot", "every": 8}}, {"madvise": {"at": "slot"}}]
    run(workload(*steps, **REGION), probe=listen(asked))
    assert [(one.at - FIRST, one.pages) for one in asked.of(Madvise)] == [(0, 1), (8, 1), (0, 16)]


@pytest.mark.parametrize(("write", "ns"), [(False, 400), (True, 400)])
@pytest.mark.parametrize("kind", ["linux", "adv"])
def test_is_all_of_a_page_moved_at_the_bandwidth_of_its_memory(write: bool, ns: int, kind: str) -> None:
    """4 KiB through the cluster's read link take 400 ns; what fits into the cache is not written back."""
    role = {"who": "all", "prepare": [{"touch": {"at": "slot"}}]}

    def latency(amount: str) -> float:
        step = {"touch": {"at": "slot", "pages": 4, "write": write, "bytes": amount}}
        return run(
            workload(roles=[{**role, "steps": [step]}], **REGION), kind=kind, memory={"llc": "1 GiB"}
        ).latency_mean_ns

    assert latency("all") - latency("one") == 4 * ns


# -- channels -----------------------------------------------------------------------------------------------


def test_does_a_token_pass_from_who_sends_to_who_receives() -> None:
    """A consumer is as fast as its producer, and most of its time it is asleep."""
    roles = [
        {"who": "first", "measured": False, "steps": [{"compute": "50 us"}, {"send": "c"}]},
        {"who": "others", "steps": [{"receive": "c"}]},
    ]
    window = {"warm_up": "100 us", "length": "5 ms"}
    spec = workload(channels={"c": {}}, roles=roles, requests=None, window=window)
    point = run(spec, threads=2)
    assert point.throughput_ops_per_us == pytest.approx(1 / 50, rel=0.05)
    assert point.breakdown_ns_per_op["channel: c"] > 40_000


def test_has_every_pair_a_channel_of_its_own() -> None:
    """The first thread of each pair sends when it has worked, for 10 us or 30 us; the other waits for it."""
    roles = [
        {"count": 1, "measured": False, "steps": [{"compute": "10 us"}, {"send": "c"}]},
        {"count": 1, "steps": [{"receive": "c"}]},
        {"count": 1, "measured": False, "steps": [{"compute": "30 us"}, {"send": "c"}]},
        {"who": "all", "measured": False, "steps": [{"receive": "c"}]},
    ]
    window = {"warm_up": "100 us", "length": "1 ms"}

    def latency(roles: list[dict[str, Any]], **channel: int) -> float:
        spec = workload(channels={"c": channel}, roles=roles, requests=None, window=window)
        return run(spec, threads=4).latency_mean_ns

    swapped = [roles[2], roles[1], roles[0], roles[3]]
    assert latency(roles, shared_by=2) == pytest.approx(10_000, rel=0.15)
    assert latency(swapped, shared_by=2) == pytest.approx(30_000, rel=0.15)
    assert latency(swapped) < 25_000


@pytest.mark.ci
def test_does_a_full_channel_hold_its_sender_up() -> None:
    """Room for three: the producer sends three and is then as slow as the consumer."""
    roles = [
        {"who": "first", "steps": [{"send": "c"}]},
        {"who": "others", "measured": False, "steps": [{"receive": "c"}, {"compute": "40 us"}]},
    ]
    window = {"warm_up": "200 us", "length": "1 ms"}

    def rate(**channel: Any) -> float:
        spec = workload(channels={"c": channel}, roles=roles, requests=None, window=window)
        return run(spec, threads=2).throughput_ops_per_us

    assert rate(capacity=3) == pytest.approx(1 / 40, rel=0.1)
    assert rate() > 10 * rate(capacity=3)


def test_is_nobody_left_asleep_when_the_window_is_over() -> None:
    """One token goes round three threads; two of them sleep when the run ends."""
    steps = [{"receive": "c"}, {"compute": "1 us"}, {"send": "c"}]
    spec = workload(
        *steps, channels={"c": {"tokens": 1}}, requests=None, window={"warm_up": "0 ns", "length": "1 ms"}
    )
    assert run(spec, threads=3).operations > 30


@pytest.mark.parametrize(
    ("roles", "key"),
    [
        ([{"who": "all", "steps": [{"receive": "c"}]}], "roles[0].steps[0].receive"),
        (
            [{"who": "all", "steps": [repeat(3, {"receive": "c"}), {"send": "c"}]}],
            "roles[0].steps[0].repeat.steps[0].receive",
        ),
        (
            [{"who": "all", "steps": [{"lock": "l"}, {"receive": "c"}, {"unlock": "l"}, {"send": "c"}]}],
            "roles[0].steps[1].receive",
        ),
        ([{"who": "all", "steps": [{"send": "full"}]}], "roles[0].steps[0].send"),
    ],
)
def test_is_it_said_beforehand_that_everybody_would_wait(roles: list[dict[str, Any]], key: str) -> None:
    channels = {"c": {"tokens": 1}, "full": {"capacity": 1, "tokens": 1}}
    spec = workload(roles=roles, channels=channels, locks={"l": {"kind": "mutex"}}, requests=2)
    fault = foresee(MachineSpec.model_validate(raw_spec()), spec, "", [2])
    assert fault is not None
    assert fault.key == key


# -- roles, cpus, processes ---------------------------------------------------------------------------------


def test_how_many_threads_take_a_role() -> None:
    """Two of five threads by number, the rest."""
    roles = [
        {"count": 2, "measured": False, "steps": [{"compute": "1 us"}]},
        {"who": "all", "steps": [{"compute": "3 us"}]},
    ]
    point = run(workload(roles=roles), threads=5)
    assert (point.operations, point.latency_mean_ns) == (3, 3_000)


def test_has_a_role_cpus_of_its_own() -> None:
    """A line that one cpu of each socket writes to: 200 ns away; next door 30 ns."""
    add = [{"add": "x"}]

    def latency(cpu: int) -> float:
        roles = [
            {
                "count": 1,
                "pinning": [cpu],
                "measured": False,
                "steps": [*add, {"barrier": "0 ns"}, {"barrier": "0 ns"}],
            },
            {"who": "all", "steps": [{"barrier": "0 ns"}, {"timed": add}, {"barrier": "0 ns"}]},
        ]
        return run(workload(roles=roles, lines={"x": {}}), threads=2).latency_mean_ns

    assert [latency(cpu) for cpu in (1, 4, 8)] == [30, 100, 200]


def test_have_processes_locks_and_tables_of_their_own() -> None:
    """Two threads map the same addresses: in one process they wait for mmap_lock, in two they do not."""
    layout = {"request": "4 KiB", "stride": "4 KiB", "base": "4 GiB", "slots": 1}
    steps = [{"mmap": {"at": "slot"}}, {"touch": {"at": "slot"}}, {"munmap": {"at": "slot"}}]

    def ns_for_the_lock(process: object, threads: int) -> float:
        role = {"who": "all", "process": process, "steps": steps}
        point = run(workload(roles=[role], layout=layout, requests=20), threads=threads)
        return point.breakdown_ns_per_op["lock: mmap_lock"]

    assert ns_for_the_lock("own", 2) == ns_for_the_lock(0, 1) < ns_for_the_lock(0, 2) / 2


def test_does_only_who_runs_a_process_hear_of_its_flushes() -> None:
    """Four threads in two processes: a munmap interrupts the one other thread of its process."""
    tally = Tally()
    roles = [
        {"who": who, "process": number, "prepare": [{"mmap": {"at": "anywhere", "size": "4 KiB"}}],
         "steps": [{"touch": {"at": "mapped"}}, {"barrier": "0 ns"}, *more, {"barrier": "0 ns"}]}
        for number, (who, more) in enumerate([("even", [{"munmap": {"at": "mapped"}}]), ("odd", [])])
    ]  # fmt: skip
    run(workload(roles=roles, processes=2), threads=4, probe=listen(tally))
    assert tally.calls == 2


# -- parameters and old files -------------------------------------------------------------------------------


def test_may_a_placement_and_a_text_use_a_parameter() -> None:
    spec = workload(
        {"compute": "$work"},
        parameters={"work": "1 us", "pages": 3},
        layout={"request": "$pages pages", "stride": "16 pages"},
        placements={"short": {}, "long": {"parameters": {"work": "9 us", "pages": 4}}},
    )
    short, long = spec.plan("short"), spec.plan("long")
    assert short.layout is not None
    assert long.layout is not None
    assert (short.layout.request, long.layout.request) == (3 * PAGE, 4 * PAGE)
    assert [cast(Any, plan.thread)[0].compute.fixed_ps for plan in (short, long)] == [10**6, 9 * 10**6]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"thread": [{"compute": "$x"}]}, "there is no parameter x"),
        ({"placements": {"p": {"parameters": {"x": 1}}}}, "there is no such parameter"),
        ({"thread": [{"send": "c"}]}, "a step uses 'c', which is not under `channels`"),
        ({"channels": {"c": {"tokens": 2, "capacity": 1}}}, "`tokens` must fit into `capacity`"),
        ({"thread": [{"compute": {"uniform": ["1 ns", "2 ns"], "exponential": "1 ns"}}]}, "this one has 2"),
        ({"thread": [repeat({"uniform": [3, 1]}, compute("1 ns"))]}, "least value first"),
        ({"thread": [{"mmap": {"at": "anywhere"}}]}, "without a `layout`"),
        ({"thread": [{"touch": {"at": "layout", "of": "next"}}]}, "they go with `at: slot`"),
        ({"thread": [{"switch_mm": "next"}]}, "there is one address space"),
        ({"thread": None, "roles": [{"count": 1, "process": 1, "steps": [compute("1 ns")]}]}, "no process 1"),
        ({"thread": None, "roles": [{"steps": [{"compute": "1 ns"}]}]}, "one of `who`, `count` and `last`"),
        ({"roles": [{"who": "all", "steps": [{"compute": "1 ns"}]}]}, "either `thread` or `roles`"),
        ({"refill": [{"compute": "1 ns"}]}, "`refill` belongs to `window`"),
    ],
)  # fmt: skip
def test_which_workloads_are_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=re.escape(message)):
        workload(**{"thread": [{"compute": "1 ns"}], **fields})


def test_is_a_bench_of_the_old_form_what_it_was() -> None:
    old = {
        "name": "w",
        "title": "",
        "family": "bench",
        "rounds": 3,
        "placement": "threads",
        "spaces": {"count": 2, "pages": 4, "apart": "8 KiB"},
        "roles": [
            {"who": "first",
             "steps": [{"discard": {"pages": 2}}, {"timed": [{"touch": {}}]}, {"switch_space": "next"}]},
            {"who": "others", "steps": [{"touch": {"region": "first", "pages": 1}}]},
        ],
    }  # fmt: skip
    touch = {"touch": {"at": "slot", "every": 2}}
    new = {
        "name": "w",
        "title": "",
        "requests": 3,
        "placements": {"threads": {}},
        "processes": 2,
        "layout": {"request": "32 KiB", "stride": "32 KiB", "slots": 1},
        "setup": [{"mmap": {"at": "layout"}}],
        "roles": [
            {"who": "first", "prepare": [touch],
             "steps": [{"madvise": {"at": "slot", "every": 2, "pages": 2}},
                       {"timed": [touch]}, {"switch_mm": "next"}]},
            {"who": "others", "prepare": [touch],
             "steps": [{"touch": {"at": "slot", "every": 2, "of": "first", "pages": 1}}]},
        ],
    }  # fmt: skip
    assert in_new_form(old) == new
    assert in_new_form(new) is new
    kinds = Counter(
        step.kind for _, step in WorkloadSpec.model_validate(new, strict=False).plan("threads").all_steps()
    )
    assert kinds == {"mmap": 1, "touch": 4, "madvise": 1, "timed": 1, "switch_mm": 1}
