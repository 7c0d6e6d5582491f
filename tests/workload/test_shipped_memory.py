"""Do the shipped workloads of mprotect, mremap, MAP_POPULATE, W^X and trimming do what their titles say?"""

from __future__ import annotations

from collections import Counter
from typing import Any, cast

import pytest

from sim.designs import DesignSpec
from sim.engine import Probe
from sim.files import load_spec
from sim.hardware import MachineSpec
from sim.workload import Budget, Measurement, WorkloadSpec, foresee, simulate

PER_OPERATION = {
    "mprotect-page": {"mprotect": 1, "touch": 0},
    "mprotect-half": {"mprotect": 1, "touch": 0},
    "mremap-move": {"mremap": 1},
    "mremap-grow": {"mremap": 2, "touch": 1},
    "populate-anon": {"mmap": 1 / 256, "munmap": 1 / 256, "touch": 0},
    "jit": {"mprotect": 2, "touch": 2},
    "malloc-trim": {"touch": 1, "madvise": 1},
}
"""Workload -> call -> how many an operation has."""
PLACED = [(name, placement) for name in PER_OPERATION for placement in ("threads", "processes")]


class Seen(Probe):
    """What was asked, and how many flushes and frames there were, from the start of the threads on."""

    def __init__(self) -> None:
        self.counted: Counter[str] = Counter()
        self.places: list[Any] = []

    def run_begins(self, cpus: object) -> None:
        self.counted.clear()
        self.places.clear()

    def operation_begins(self, cpu: object, operation: Any) -> None:
        self.counted[operation.name] += 1
        self.places.append(operation)

    def flush(self, cpu: object, pages: int) -> None:
        self.counted["flush"] += 1

    def frame_filled(self, cpu: object, frame: int, source: int | None) -> None:
        self.counted["frame"] += 1  # a page or a table, no slab


def spec(name: str) -> WorkloadSpec:
    return cast("WorkloadSpec", load_spec("workload", name).spec)


def run(
    name: str, placement: str = "threads", threads: int = 1, design: str = "linux-6.13", **options: Any
) -> Measurement:
    return simulate(
        cast("MachineSpec", load_spec("machine", "epyc-9965").spec),
        cast("DesignSpec", load_spec("design", design).spec),
        spec(name),
        placement=placement,
        threads=threads,
        seed=1,
        budget=Budget(10**7, 10**12),
        **options,
    )


@pytest.mark.parametrize(("name", "placement"), PLACED)
@pytest.mark.ci
def test_does_each_run_alone_and_with_two(name: str, placement: str) -> None:
    """What threads do to each other's memory they do with one lock; processes do not meet."""
    machine = cast("MachineSpec", load_spec("machine", "epyc-9965").spec)
    assert foresee(machine, spec(name), placement, [1, 2, 384]) is None
    one, two = (run(name, placement, threads).throughput_ops_per_us for threads in (1, 2))
    if placement == "processes":
        assert two == pytest.approx(2 * one, rel=0.05)
    else:
        assert two < 1.95 * one


@pytest.mark.parametrize("name", PER_OPERATION)
def test_what_counts_as_an_operation(name: str) -> None:
    seen = Seen()
    found = run(name, probe=seen)
    extent = spec(name).window_of("threads")
    assert extent is not None
    asked = found.operations + getattr(extent.warm_up, "each", 0)
    for call, times in PER_OPERATION[name].items():
        assert seen.counted[call] == pytest.approx(times * asked, abs=2 * times + 1)


@pytest.mark.parametrize("name", ["mprotect-page", "mprotect-half", "jit"])
def test_does_each_change_of_rights_flush_once(name: str) -> None:
    """One that gives a right does, too: x86 flushes whenever the right to write changes."""
    seen = Seen()
    run(name, probe=seen)
    assert seen.counted["flush"] == pytest.approx(seen.counted["mprotect"], abs=1)


def test_does_changing_256_pages_cost_255_entries_more_than_one() -> None:
    page, half = (run(name).breakdown_ns_per_op for name in ("mprotect-page", "mprotect-half"))
    assert half["page table"] > 100 * page["page table"]
    assert half["vma"] < page["vma"]  # it begins where its mapping begins: one cut, not two


def test_does_mremap_move_change_places_and_take_no_page() -> None:
    seen = Seen()
    run("mremap-move", probe=seen)
    ways = [(asked.at, asked.to) for asked in seen.places[1:]]
    assert len(set(ways)) == 2
    assert ways[0] == ways[1][::-1]
    assert seen.counted["frame"] == 3  # tables of the new place, one of each level


def test_does_mremap_grow_stay_where_it_is_and_touch_16_new_pages() -> None:
    seen = Seen()
    run("mremap-grow", probe=seen)
    grown = [asked for asked in seen.places if asked.name == "mremap"]
    assert len({asked.at for asked in grown}) == 1
    assert seen.counted["frame"] == pytest.approx(16 * seen.counted["touch"], abs=16)


def test_spares_populating_the_entry_of_a_fault_for_each_page() -> None:
    found = run("populate-anon").breakdown_ns_per_op
    assert found.get("fault entry", 0) == 0
    assert found["zero"] > 0


def test_does_a_change_of_code_take_longer_where_others_must_flush() -> None:
    alone, four = run("jit"), run("jit", threads=4)
    assert alone.latency_p99_ns < four.latency_p50_ns < four.latency_p99_ns


def test_does_a_trimmed_arena_stay_mapped() -> None:
    """Growing again is 32 faults and no call."""
    seen = Seen()
    found = run("malloc-trim", probe=seen)
    assert set(seen.counted) == {"touch", "madvise", "flush", "frame"}
    assert seen.counted["frame"] == pytest.approx(32 * seen.counted["touch"], abs=32)
    assert found.breakdown_ns_per_op["fault entry"] > 0


# -- populated in bulk ------------------------------------------------------------------------------------


@pytest.mark.parametrize(("design", "flushes"), [("linux-6.13", 7), ("cortenmm-adv", 1)])
def test_are_64_thousand_pages_given_back_in_few_events(design: str, flushes: int) -> None:
    """256 MiB, set up and unmapped; Linux flushes whenever a gather of 9698 pages is full."""
    seen = Seen()
    measured = run("munmap-populated", "", design=design, probe=seen)
    assert measured.events < 10_000
    assert dict(seen.counted) == {"munmap": 1, "flush": flushes}
    (unmapped,) = seen.places
    assert unmapped.pages == 65_536
    assert 0.03 < measured.latency_mean_ns / unmapped.pages / 1000 < 0.3  # us a page
