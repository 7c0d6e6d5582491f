"""Threads with a region each: what do touch, shootdown and switch_mm measure, and what do they leave?"""

from __future__ import annotations

from typing import Any, cast

import kernels
import pytest
from machines import Tally, raw_spec

from sim.designs import DesignSpec, spec_model
from sim.engine import QUIET, Probe
from sim.errors import ModelError
from sim.files import load_spec
from sim.hardware import MachineSpec, Tlb
from sim.workload import Budget, Measurement, WorkloadSpec, simulate

BUDGET = Budget(events=5_000_000, simulated_ps=10**12)
PCID = {"pcid": True, "switch": "50 ns"}
FLUSH = {"method": "ipi", "concurrent": True, "asids": 2}
HIT = 1
"""ns of an access."""


TOUCH = {"touch": {"at": "slot"}}
TOUCH_FIRST = {"touch": {"at": "slot", "of": "first"}}


def shootdown(targets: str | int, **fields: Any) -> dict[str, Any]:
    return {"shootdown": {"at": "slot", "targets": targets, **fields}}


def bench(
    *steps: dict[str, Any],
    pages: int = 1,
    every: int = 1,
    others: list[dict[str, Any]] | None = None,
    **fields: Any,
) -> WorkloadSpec:
    """Each thread has *pages* pages, *every* so many apart, and touches them before the run."""
    region = f"{pages * every} pages"
    roles: list[dict[str, Any]] = [{"who": "first" if others else "all", "steps": list(steps)}]
    if others:
        roles.append({"who": "others", "measured": False, "steps": others})
    raw = {
        "name": "b",
        "title": "b",
        "requests": 10,
        "layout": {"request": region, "stride": region, "slots": 1},
        "setup": [{"mmap": {"at": "layout"}}],
        "roles": roles,
        **fields,
    }
    prepare = [{"touch": {"at": "slot", "every": every}}]
    raw["roles"] = [{"prepare": prepare, **role} for role in raw["roles"]]
    return WorkloadSpec.model_validate(raw, strict=False)


def design(**flush: Any) -> DesignSpec:
    raw = {"name": "tlb", "title": "", "family": "bench", "flush": {**FLUSH, **flush}}
    return spec_model("bench").model_validate(raw)


def measure(
    spec: WorkloadSpec, threads: int = 1, tlb: dict[str, Any] | None = None, probe: Probe = QUIET
) -> Measurement:
    machine = MachineSpec.model_validate(raw_spec({"tlb": {"entries": 64, **(tlb or {})}}))
    return simulate(
        machine, design(), spec, placement="", threads=threads, seed=1, budget=BUDGET, probe=probe
    )


def test_what_does_a_pass_over_more_pages_than_the_tlb_holds_cost() -> None:
    """Eight entries, least recently used leaves: with nine pages in turn every access walks."""
    assert measure(bench(TOUCH, pages=8), tlb={"entries": 8}).latency_mean_ns == 8 * HIT
    assert measure(bench(TOUCH, pages=9), tlb={"entries": 8}).latency_mean_ns == 9 * (HIT + 10)


@pytest.mark.parametrize("kind", kernels.KINDS)
def test_can_a_bench_touch_pages_under_every_kernel(kind: str) -> None:
    """Set-up loads the space before it maps anything in it: a kernel's mmap counts on that."""
    machine, spec = MachineSpec.model_validate(raw_spec()), bench(TOUCH, pages=4)
    touched = simulate(machine, kernels.design(kind), spec, placement="", threads=2, seed=1, budget=BUDGET)
    assert touched.latency_mean_ns == 4 * HIT


def test_do_pages_far_apart_need_a_line_of_page_table_each() -> None:
    """16 pages: two lines if they lie side by side, 16 if they do not; the core keeps four lines."""
    far = {"core_lines": 4, "llc": "30 ns", "cluster_lines": 100, "cold": "150 ns"}
    tlb = {"entries": 8, "far_walk": far}
    near = bench(TOUCH, pages=16)
    apart = bench({"touch": {"at": "slot", "every": 16}}, pages=16, every=16)
    assert measure(near, tlb=tlb).latency_mean_ns == 16 * (HIT + 10)
    assert measure(apart, tlb=tlb).latency_mean_ns == 16 * (HIT + 30)
    far["cluster_lines"] = 8
    assert measure(apart, tlb=tlb).latency_mean_ns == 16 * (HIT + 150)


def test_does_a_full_flush_leave_a_debt() -> None:
    """Four of 40 pages by INVLPG: four walks later. Above the ceiling: forty."""
    spec = bench(shootdown("all", pages=4), {"timed": [TOUCH]}, pages=40)
    assert measure(spec).latency_mean_ns == 40 * HIT + 4 * 10
    assert measure(spec, tlb={"flush_ceiling": 3}).latency_mean_ns == 40 * HIT + 40 * 10


@pytest.mark.parametrize(("tlb", "count", "walks"), [(PCID, 2, 0), (PCID, 3, 1), ({}, 2, 1)])
def test_does_a_space_that_comes_back_find_its_translations(
    tlb: dict[str, Any], count: int, walks: int
) -> None:
    """With two numbers a cpu two spaces keep their entries; of three in turn none does."""
    spec = bench({"switch_mm": "next"}, {"timed": [TOUCH]}, processes=count, pages=4)
    assert measure(spec, tlb=tlb).latency_mean_ns == 4 * HIT + walks * 4 * 10


def test_does_a_shootdown_measure_the_flush_alone() -> None:
    """One owner of tlb_gen, one target next door: 30 + 50 + 3 x 30 + 100 + 300 + (400 + 4 x 30 + 40)
    + 15 ns. The first of ten finds tlb_gen (2 ns) and what it calls about (1 ns) at home."""
    spec = bench(
        {"barrier": "0 ns"},
        {"timed": [shootdown("all")]},
        {"barrier": "0 ns"},
        others=[{"barrier": "0 ns"}, {"barrier": "0 ns"}],
    )
    steady = 30 + 50 + 90 + 100 + 300 + 400 + 120 + 40 + 15
    assert measure(spec, 2).latency_mean_ns == pytest.approx(steady - (28 + 29) / 10)


@pytest.mark.parametrize(("targets", "calls"), [("all", 3), ("next", 1), (2, 2), (9, 3)])
def test_whom_does_a_shootdown_ask(targets: str | int, calls: int) -> None:
    tally = Tally()
    measure(bench(shootdown(targets), others=[{"compute": "1 ms"}], requests=1), 4, probe=tally)
    assert tally.calls == calls


def test_is_a_translation_that_survives_its_flush_found(monkeypatch: pytest.MonkeyPatch) -> None:
    spec = bench(
        {"barrier": "0 ns"},
        shootdown("all"),
        others=[TOUCH_FIRST, {"barrier": "0 ns"}, {"compute": "10 us"}],
        requests=1,
    )
    measure(spec, 2)
    monkeypatch.setattr(Tlb, "invalidate", lambda self, pages, asid=None: None)
    with pytest.raises(ModelError, match="can still translate page"):
        measure(spec, 2)


def test_does_a_walk_fetch_an_entry_that_another_cpu_has_written() -> None:
    """Thread 1 touches thread 0's page for the first time: the line of its entry is with cpu 0."""
    first_page = {"touch": {"at": "slot", "of": "first", "every": 16}}
    spec = bench(
        roles=[
            {"who": "first", "measured": False, "steps": [{"compute": "1 ns"}]},
            {"who": "others", "steps": [{"timed": [first_page]}]},
        ],
        every=16,
        requests=2,
    )
    assert measure(spec, 2).latency_mean_ns == (30 + 10 + HIT + HIT) / 2


def test_are_windows_counted_from_the_start_of_the_threads() -> None:
    """The set-up takes longer than the window; every pass takes 40 ns."""
    window = {"warm_up": "1 us", "length": "4 us", "skew": "1 ns"}
    spec = bench(TOUCH, pages=40, requests=None, window=window)
    assert measure(spec).operations == 100


def test_is_the_set_up_not_accounted() -> None:
    spec = bench(TOUCH, pages=40)
    measured = measure(spec)
    assert measured.simulated_ns == 10 * 40 * HIT
    assert measured.breakdown_ns_per_op == {"user": 40 * HIT}


def test_is_a_bench_of_spaces_refused_by_hardware_without() -> None:
    machine = MachineSpec.model_validate(raw_spec())
    bare = spec_model("bench")(name="hardware", title="", family="bench")
    spec = bench(TOUCH)
    with pytest.raises(ModelError, match="BareKernel has no processes"):
        simulate(machine, bare, spec, placement="", threads=1, seed=1, budget=BUDGET)


@pytest.mark.parametrize(("every", "calls"), [(1, 1), (2, 4), (512, 4)])
def test_are_pages_apart_given_back_apart(every: int, calls: int) -> None:
    """One madvise call for pages side by side; a call a page where others lie between them."""
    steps = [{name: {"at": "slot", "every": every}} for name in ("madvise", "touch")]
    spec = bench(*steps, pages=4, every=every)
    machine = MachineSpec.model_validate(raw_spec({"kernel": {"syscall": "1 us"}}))
    linux = cast(DesignSpec, load_spec("design", "linux-6.13").spec)
    run = simulate(machine, linux, spec, placement="", threads=2, seed=1, budget=BUDGET)
    assert run.breakdown_ns_per_op["syscall"] == calls * 1000
