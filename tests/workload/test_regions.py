"""Do threads of an index bench do what the workload says, and who of them is counted?"""

from __future__ import annotations

import re
from itertools import pairwise
from random import Random
from typing import Any

import pytest
from machines import raw_spec
from pydantic import ValidationError

from sim.designs import spec_model
from sim.errors import InputError
from sim.hardware import MachineSpec
from sim.workload import Budget, Measurement, WorkloadSpec, simulate
from sim.workload.regions import Regions
from sim.workload.things_spec import RegionsSpec

BUDGET = Budget(events=1_000_000, simulated_ps=10**12)
REGIONS = {"count": 20, "size": "16 KiB", "space": "16 MiB"}
WINDOW = {"warm_up": "10 requests", "length": "50 requests"}
WRITERS: dict[str, Any] = {
    "roles": [
        {"last": 2, "measured": False, "steps": [{"write_region": True}]},
        {"who": "all", "steps": [{"find_region": True}]},
    ]
}


def bench(**fields: Any) -> WorkloadSpec:
    raw = {"name": "b", "title": "b", "regions": REGIONS, "window": WINDOW, **fields}
    return WorkloadSpec.model_validate({key: value for key, value in raw.items() if value}, strict=False)


def measure(spec: WorkloadSpec, threads: int) -> Measurement:
    costs = {"look_up": "20 ns", "step": "5 ns", "write": "9 ns", "allocate": "50 ns", "free": "20 ns"}
    index = {"levels": 5, "branching": 2, "header": "32 B", "costs": costs}
    raw = {"name": "s", "title": "s", "family": "bench", "skiplist": index}
    design = spec_model("bench").model_validate(raw, strict=False)
    machine = MachineSpec.model_validate(raw_spec({}))
    return simulate(machine, design, spec, placement="", threads=threads, seed=1, budget=BUDGET)


def test_do_no_two_regions_overlap() -> None:
    spec = RegionsSpec.model_validate({**REGIONS, "base": "1 GiB"}, strict=False)
    regions, random = Regions(spec, Random(1)), Random(2)
    taken = [regions.take(random) for _ in range(20)]
    everywhere = sorted([*(start for start, _ in regions), *taken])
    assert all(after - before >= 4 for before, after in pairwise(everywhere))
    assert everywhere[0] >= 1 << 18
    assert everywhere[-1] + 4 <= (1 << 18) + (16 << 8)
    for start in taken:
        regions.leave(start)
    pages = {regions.page(random) for _ in range(2000)}
    assert pages == {page for start, end in regions for page in range(start, end)}


def test_are_threads_that_only_make_load_counted_by_what_their_operations_take() -> None:
    """The latency is that of searches; with `all` the parts have what writers take, else they do not."""
    both = measure(bench(**WRITERS, part_latencies="all"), 6)
    readers = measure(bench(**WRITERS, part_latencies=True), 6)
    assert set(both.parts_ns) == {"look_up", "write"}
    assert set(readers.parts_ns) == {"look_up"}
    assert both.latency_mean_ns == readers.latency_mean_ns == pytest.approx(both.parts_ns["look_up"], rel=0.1)
    assert both.parts_ns["write"] > 2 * both.latency_mean_ns


def test_do_writers_slow_those_down_who_search_elsewhere() -> None:
    alone = measure(bench(thread=[{"find_region": True}]), 4).latency_mean_ns
    assert measure(bench(**WRITERS), 6).latency_mean_ns > 1.2 * alone


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"regions": None}, "does `find_region`, and there are no `regions`"),
        ({"regions": {**REGIONS, "size": "5 KiB"}}, "size must be a whole number"),
        ({"regions": {**REGIONS, "size": "0 B"}}, "a region has a page"),
        ({"regions": {**REGIONS, "space": "1 MiB"}}, "20 regions and as many again"),
    ],
)
def test_which_benches_are_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=re.escape(message)):
        bench(thread=[{"find_region": True}], **fields)


def test_is_a_bench_refused_whose_threads_all_run_beside_its_tasks() -> None:
    with pytest.raises(InputError, match="2 threads run beside the tasks, and there are 2"):
        measure(bench(**WRITERS, threads_beside=2), 2)
