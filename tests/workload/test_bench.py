"""Does a bench measure what its file says?"""

from __future__ import annotations

from typing import Any, get_args

import pytest
from machines import RWSEM, raw_spec
from pydantic import ValidationError

from sim.designs import spec_model
from sim.errors import InputError, ModelError
from sim.hardware import MachineSpec
from sim.sync import READER_WRITER
from sim.workload import Budget, Measurement, WorkloadSpec, simulate
from sim.workload.lock_spec import LockSpec

BUDGET = Budget(events=5_000_000, simulated_ps=10**12)
WINDOW = {"warm_up": "1 us", "length": "50 us", "skew": "100 ns"}


def bench(**fields: Any) -> WorkloadSpec:
    return WorkloadSpec.model_validate({"name": "b", "title": "b", **fields}, strict=False)


def measure(spec: WorkloadSpec, threads: int, seed: int = 1, **changes: Any) -> Measurement:
    design = spec_model("bench")(name="hardware", title="", family="bench")
    machine = MachineSpec.model_validate(raw_spec(changes))
    return simulate(machine, design, spec, placement="", threads=threads, seed=seed, budget=BUDGET)


def loop(step: dict[str, Any], **fields: Any) -> WorkloadSpec:
    return bench(roles=[{"who": "all", "steps": [step]}], window=WINDOW, **fields)


def test_is_throughput_the_operations_of_the_window() -> None:
    """One thread adds to its own line: 2 ns an operation; four in a cluster pass it on: 30 ns."""
    adds = loop({"add": "x"}, lines={"x": {}})
    assert measure(adds, 1).throughput_ops_per_us == pytest.approx(500, rel=0.01)
    assert measure(adds, 4).throughput_ops_per_us == pytest.approx(1000 / 30, rel=0.02)


@pytest.mark.parametrize(("apart", "sharing"), [("8 B", 8), ("16 B", 4), ("32 B", 2), ("64 B", 1)])
def test_do_only_words_of_one_line_get_in_each_others_way(apart: str, sharing: int) -> None:
    """Four threads of one cluster, each with a word of its own: all on a line, or one on each."""
    own = loop({"add": "words"}, lines={"words": {"each_thread": apart}})
    same = loop({"add": "word"}, lines={"word": {}})
    lines = 4 // min(4, sharing)
    assert measure(own, threads=4).throughput_ops_per_us == pytest.approx(
        lines * measure(same, threads=min(4, sharing)).throughput_ops_per_us, rel=0.02
    )


@pytest.mark.parametrize(("pinning", "way"), [([0, 1], 30), ([0, 4], 100), ([0, 8], 200)])
def test_is_half_of_a_ping_pong_one_transfer(pinning: list[int], way: float) -> None:
    spec = loop({"turn": "ball"}, lines={"ball": {}}, pinning=pinning)
    measured = measure(spec, 2)
    assert measured.throughput_ops_per_us == pytest.approx(1000 / way, rel=0.05)
    assert measured.latency_p50_ns == pytest.approx(2 * way, rel=0.1)


def test_does_a_compare_and_swap_that_lost_try_again() -> None:
    """Where nobody can keep the line, success needs a read, and a write that nobody came before."""
    cas = {"cas_add": {"line": "x", "retry": "10 ns"}}
    alone = measure(loop(cas, lines={"x": {}}), 1).throughput_ops_per_us
    four = measure(loop(cas, lines={"x": {}}), 4).throughput_ops_per_us
    adds = measure(loop({"add": "x"}, lines={"x": {}}), 4).throughput_ops_per_us
    assert alone == pytest.approx(1000 / 3, rel=0.01)
    assert four < adds


def test_are_only_the_timed_steps_measured() -> None:
    spec = bench(
        lines={"x": {}},
        requests=20,
        roles=[
            {"who": "first", "steps": [{"add": "x"}, {"barrier": "1 ns"}, {"barrier": "1 ns"}]},
            {"who": "others", "steps": [{"barrier": "1 ns"}, {"timed": [{"add": "x"}]}, {"barrier": "1 ns"}]},
        ],
    )
    measured = measure(spec, 2)
    assert measured.latency_mean_ns == 30
    assert measured.operations == 20


def test_do_simultaneous_writers_wait_for_half_of_each_other() -> None:
    """m requests at once: the mean latency is (m + 1) / 2 transfers."""
    spec = bench(
        lines={"x": {}},
        requests=50,
        roles=[
            {"who": "first", "steps": [{"add": "x"}, {"barrier": "1 ns"}, {"barrier": "1 ns"}]},
            {"who": "others", "steps": [{"barrier": "0 ns"}, {"timed": [{"add": "x"}]}, {"barrier": "1 ns"}]},
        ],
    )
    assert measure(spec, 4).latency_mean_ns == pytest.approx(2 * 30, rel=0.01)


TURN = [{"who": "all", "steps": [{"turn": "x"}]}]
OPTIONS: dict[str, dict[str, Any]] = {
    "ttas": {"pause": "20 ns"},
    "rwsem": {"tuning": RWSEM},
    "rwsem-spinning-readers": {"tuning": RWSEM},
    "cna": {"threshold": "10 us"},
    "bravo": {"slots": 1021, "scan_line": "1 ns", "inhibit": "5 us"},
    "percpu-rwsem": {"tick": "2 us"},
}
KINDS = [
    kind
    for member in get_args(get_args(LockSpec)[0])
    for kind in get_args(member.model_fields["kind"].annotation)
]


@pytest.mark.parametrize("kind", KINDS)
def test_can_every_kind_of_lock_be_named(kind: str) -> None:
    spec = bench(
        locks={"l": {"kind": kind, **OPTIONS.get(kind, {})}},
        window=WINDOW,
        roles=[{"who": "all", "steps": [{"lock": "l"}, {"compute": "50 ns"}, {"unlock": "l"}]}],
    )
    assert 0 < measure(spec, 4).throughput_ops_per_us < 20


@pytest.mark.parametrize("kind", READER_WRITER)
def test_do_readers_of_every_such_kind_share_it(kind: str) -> None:
    """Four readers of 1 us: more than one can be inside at a time."""
    spec = bench(
        locks={"l": {"kind": kind, **OPTIONS.get(kind, {})}},
        window=WINDOW,
        roles=[{"who": "all", "steps": [{"read_lock": "l"}, {"compute": "1 us"}, {"read_unlock": "l"}]}],
    )
    assert 3 < measure(spec, 4).throughput_ops_per_us <= 4


def test_does_a_seqlock_reader_read_once_more_after_a_writer() -> None:
    """A writer every 10 us costs each reader of 1 us at most two of its turns."""
    write = [{"compute": "10 us"}, {"lock": "l"}, {"compute": "50 ns"}, {"unlock": "l"}]
    read = [{"seq_read": {"lock": "l", "steps": [{"compute": "1 us"}]}}]
    roles = [{"who": "first", "measured": False, "steps": write}, {"who": "others", "steps": read}]
    spec = bench(locks={"l": {"kind": "seqlock"}}, window=WINDOW, roles=roles)
    undisturbed = bench(
        locks={"l": {"kind": "seqlock"}}, window=WINDOW, roles=[{"who": "all", "steps": read}]
    )
    assert measure(undisturbed, 4).throughput_ops_per_us == pytest.approx(4, rel=0.02)
    assert 0.8 * 3 < measure(spec, 4).throughput_ops_per_us < 0.95 * 3


def test_does_a_thread_that_sleeps_leave_its_cpu_idle() -> None:
    measured = measure(loop({"sleep": "5 us"}), 1)
    assert measured.latency_mean_ns == 5_000 + 500 + 2_000  # the timer's wake-up call, the wake-up
    assert measured.breakdown_ns_per_op["asleep"] > 5_000


def test_does_the_same_seed_give_the_same_numbers() -> None:
    spec = loop({"add": "x"}, lines={"x": {}})
    order = {"coherence": {"order": {"rule": "random"}, "spread": 0.2}}
    assert measure(spec, 6, **order) == measure(spec, 6, **order)
    assert measure(spec, 6, **order) != measure(spec, 6, seed=2, **order)


def test_is_a_measured_latency_that_of_memory_under_load() -> None:
    spec = bench(
        window=WINDOW,
        roles=[
            {"who": "first", "steps": [{"read_dram": 1}]},
            {"who": "others", "measured": False, "steps": [{"stream_dram": {"bandwidth": "5 GB/s"}}]},
        ],
    )
    dram = {"channels": 1, "channel_bandwidth": "20 GB/s", "banks": 4, "bank_cycle": "30 ns"}
    assert measure(spec, 1, memory={"dram": dram}).latency_mean_ns == 80
    assert measure(spec, 4, memory={"dram": dram}).latency_mean_ns > 90
    with pytest.raises(InputError, match="DRAM channels"):
        measure(spec, 2)


@pytest.mark.parametrize(
    ("step", "ns"),
    [
        ({"clear": {}}, 400),  # 4 KiB through the cluster's read link
        ({"clear": {"size": "12 KiB"}}, 1200),
        ({"clear": {"node": "remote"}}, 800),  # through the link between the sockets
        ({"clear": {"node": 1}}, 800),
        ({"clear": {"node": 0}}, 400),
        ({"clear": {"size": "2 MiB"}}, 512 * 400),
        ({"copy": {}}, 800),  # what is copied, and what is written to
        ({"copy": {"node": "remote"}}, 800),
        ({"copy": {"source": "remote", "node": "remote"}}, 1600),
    ],
)
def test_how_long_does_a_thread_alone_fill_memory(step: dict[str, Any], ns: float) -> None:
    memory = {"inter_socket": "5.12 GB/s", "llc": "1 GiB"}
    spec = bench(requests=2, roles=[{"who": "all", "steps": [step]}])
    assert measure(spec, 1, memory=memory).latency_mean_ns == ns


def test_do_huge_pages_have_a_cost_of_their_own_and_the_rest_of_a_range_not() -> None:
    memory = {"cluster_read": "40.96 GB/s", "llc": "1 GiB", "clear_huge": "512 us"}
    spec = bench(requests=1, roles=[{"who": "all", "steps": [{"clear": {"size": "513 pages"}}]}])
    assert measure(spec, 1, memory=memory).latency_mean_ns == 512_000 + 200


def test_is_remote_memory_farther_to_read() -> None:
    dram = {"channels": 1, "channel_bandwidth": "20 GB/s", "banks": 4, "bank_cycle": "30 ns"}

    def latency(**more: Any) -> float:
        spec = bench(requests=3, roles=[{"who": "all", "steps": [{"read_dram": 1, **more}]}])
        return measure(spec, 1, memory={"dram": dram}).latency_mean_ns

    assert [latency(), latency(node="local"), latency(node="remote"), latency(node=1)] == [80, 80, 140, 140]


@pytest.mark.parametrize(
    ("node", "machine", "message"),
    [
        (2, {}, "a NUMA node that small does not have"),
        ("remote", {"topology": {"sockets": 1, "numa_nodes": 1}}, "small has one socket"),
    ],
)
def test_is_memory_that_a_machine_does_not_have_refused(node: Any, machine: Any, message: str) -> None:
    for step in ({"clear": {"node": node}}, {"copy": {"source": node}}, {"read_dram": 1, "node": node}):
        with pytest.raises(InputError, match=message):
            measure(bench(requests=1, roles=[{"who": "all", "steps": [step]}]), 1, **machine)


def test_do_pages_of_an_allocator_come_from_the_bound_node() -> None:
    """The bound node's zone serves all cpus: its lock is contended by both sockets, first touch's by one."""
    from kernels import design

    pages = [{"allocate": {"count": 8}}, {"free": {"count": 8}}]

    def latency(memory: Any) -> float:
        spec = bench(requests=20, memory=memory, roles=[{"who": "all", "steps": pages}])
        machine = MachineSpec.model_validate(raw_spec())
        return simulate(
            machine, design("linux"), spec, placement="", threads=16, seed=1, budget=BUDGET
        ).latency_mean_ns

    assert latency({"bind": 0}) > 1.1 * latency("first-touch")


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (
            {"requests": 1, "roles": [{"who": "all", "steps": [{"compute": "1 ns", "node": 1}]}]},
            "to `read_dram`",
        ),
        ({"requests": 1, "roles": [{"who": "all", "steps": [{"clear": {"size": "100 ns"}}]}]}, "not a size"),
        (
            {"requests": 1, "roles": [{"who": "all", "steps": [{"clear": {"size": "5 KiB"}}]}]},
            "whole number of pages",
        ),
        (
            {"requests": 1, "roles": [{"who": "all", "steps": [{"clear": {"node": "far"}}]}]},
            "local, remote or",
        ),
        ({"requests": 1, "roles": [{"who": "all", "steps": [{"copy": {}, "clear": {}}]}]}, "this one has 2"),
        ({}, "give `requests` or `window`"),
        ({"measured": {"first": 0, "last": 0}, "window": WINDOW}, "either `measured` or `window`"),
        ({"requests": 1, "roles": [{"who": "all", "steps": [{"add": "y"}]}]}, "uses 'y'"),
        ({"requests": 1, "roles": [{"who": "all", "steps": [{"add": "x", "load": "x"}]}]}, "this one has 2"),
        (
            {"requests": 1, "lines": {"x": {"each_thread": "8 B"}}, "roles": TURN},
            "`turn` is for a word that all threads share",
        ),
        ({"requests": 1, "locks": {"l": {"kind": "ticket", "pause": "1 ns"}}}, "Extra inputs"),
        ({"requests": 1, "locks": {"l": {"kind": "ttas"}}}, "Field required"),
        ({"requests": 1, "locks": {"l": {"kind": "lock"}}}, "'qspinlock'"),
        (
            {
                "requests": 1,
                "locks": {"l": {"kind": "rwsem-xadd"}},
                "roles": [
                    {"who": "all", "steps": [{"seq_read": {"lock": "l", "steps": [{"compute": "1 ns"}]}}]}
                ],
            },
            "is for `kind: seqlock`",
        ),
        (
            {
                "requests": 1,
                "locks": {"l": {"kind": "mcs"}},
                "roles": [{"who": "all", "steps": [{"read_lock": "l"}]}],
            },
            "only rwsem, rwsem-spinning-readers, rwsem-xadd, rwsem-granting, phase-fair",
        ),
    ],
)
def test_which_benches_are_refused(fields: dict[str, Any], message: str) -> None:
    good = {"lines": {"x": {}}, "roles": [{"who": "all", "steps": [{"add": "x"}]}]}
    with pytest.raises(ValidationError, match=message):
        bench(**{**good, **fields})


def test_is_a_bench_of_pages_refused_by_bare_hardware() -> None:
    with pytest.raises(ModelError, match="BareKernel offers no allocate"):
        measure(bench(requests=1, roles=[{"who": "all", "steps": [{"allocate": {"count": 1}}]}]), 1)
