"""What would be gained without it: is the answer that of a model that never had it, and is it arithmetic?"""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from sim.analysis.changes import (
    Change,
    Way,
    candidates,
    changed_point,
    parse_change,
    read_catalogue,
    switches,
)
from sim.analysis.whatif import gains, place_of, plan
from sim.analysis.whatif_reasons import reason
from sim.engine import Steps
from sim.errors import InputError
from sim.experiment import Cell, Experiment, Outcome, load, run, run_point
from sim.experiment.results import raised
from sim.hardware import Cpu
from sim.sync import Without

HERE = "machine: epyc-9965-guest\ndesigns: [{design}]\nworkloads: [{workload}]\nthreads: [{threads}]\n"
COUNTED = """\
name: counted
title: threads compute outside and inside of one lock
locks: {{lock: {{kind: ticket}}}}
window: {{warm_up: 100 us, length: 1 ms, skew: 1 us}}
thread: [{{compute: {outside} us}}, {{lock: lock}}, {{compute: {inside} us}}, {{unlock: lock}}]
"""


class NoLock:
    """Written for this test alone: a lock that is none, whatever it is made of."""

    def __init__(self, *_: Any, **__: Any) -> None:
        self.bias = False

    def nothing(self, cpu: Cpu) -> Steps[None]:
        yield from ()

    def always(self, cpu: Cpu) -> Steps[bool]:
        yield from ()
        return True

    acquire = release = read_lock = read_unlock = write_lock = write_unlock = nothing
    try_acquire = always


def experiment(folder: Path, design: str, workload: str, threads: int, more: str = "") -> Experiment:
    text = "name: e\n" + HERE.format(design=design, workload=workload, threads=threads) + more
    (folder / "e.yaml").write_text(text)
    return load(folder / "e.yaml")


def results(outcome: Outcome) -> tuple[Any, ...]:
    assert not outcome.failed, outcome.row.error
    return outcome.row, outcome.breakdown


@pytest.mark.parametrize(
    ("design", "lock", "made"),
    [
        ("linux-6.13", "lock: lru", "sim.designs.linux.lruvec.spin_lock"),
        ("cortenmm-adv", "lock: page table", "sim.designs.cortenmm.protocols.adv.McsLock"),
        ("cortenmm-rw", "lock: page table", "sim.designs.cortenmm.protocols.rw.BravoLock"),
    ],
)
def test_is_a_run_without_a_lock_that_of_a_model_that_never_had_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, design: str, lock: str, made: str
) -> None:
    (point,) = experiment(tmp_path, design, "mmap-pf", 4, "placements: [low]\n").points
    before = results(run_point(point))
    without = results(run_point(replace(point, without=Without(locks=(lock,)))))
    monkeypatch.setattr(made, NoLock)
    assert results(run_point(point)) == without != before


def counted(folder: Path, outside: int, inside: int, threads: int) -> Path:
    (folder / "counted.yaml").write_text(COUNTED.format(outside=outside, inside=inside))
    run(experiment(folder, "lock", "./counted.yaml", threads), out=folder / "out")
    return folder / "out"


@pytest.mark.parametrize(("outside", "inside", "threads"), [(3, 1, 2), (3, 1, 8), (1, 4, 4)])
def test_are_the_gains_of_a_lock_arithmetic(tmp_path: Path, outside: int, inside: int, threads: int) -> None:
    """Without it k threads do k operations in the time that one takes; with it at most one is inside."""
    table = gains(counted(tmp_path, outside, inside, threads), replicates=2)
    base, without = table.iloc[0], table.loc[table["without"] == "lock: lock"].iloc[0]
    assert without["kind"] == Way.EXACT
    free = threads / (outside + inside)
    assert without["without_ops_per_us"] == pytest.approx(free, rel=0.01)
    assert without["gain"] == pytest.approx(free / base["with_ops_per_us"] - 1, rel=0.01)
    if threads * inside > outside + inside:
        assert base["with_ops_per_us"] < 1 / inside
        assert free * inside - 1 < without["gain"] < 1.3 * free * inside - 1


@pytest.mark.parametrize(("outside", "inside", "threads"), [(3, 1, 8), (1, 4, 4)])
def test_is_the_estimate_of_such_a_lock_the_same(
    tmp_path: Path, outside: int, inside: int, threads: int
) -> None:
    """Its owners follow each other, and get back what they waited."""
    (tmp_path / "counted.yaml").write_text(COUNTED.format(outside=outside, inside=inside))
    (point,) = experiment(tmp_path, "lock", "./counted.yaml", threads).points
    given_back = run_point(replace(point, without=Without(waits=("lock: lock",))))
    assert given_back.row.throughput_ops_per_us == pytest.approx(threads / (outside + inside), rel=0.01)


def test_does_a_lock_that_costs_nothing_take_the_time_of_its_holders(tmp_path: Path) -> None:
    table = gains(counted(tmp_path, 3, 1, 8), without=["handover: lock"], replicates=1)
    assert table.iloc[1]["kind"] == Way.BOUND
    assert table.iloc[1]["without_ops_per_us"] == pytest.approx(1, rel=0.01)


@pytest.mark.parametrize(("design", "workload"), [("linux-6.13", "pf"), ("cortenmm-adv", "unmap")])
@pytest.mark.ci
def test_is_an_estimate_close_to_a_run_without_the_lock(tmp_path: Path, design: str, workload: str) -> None:
    lock = "lock: lru" if design == "linux-6.13" else "lock: page table"
    (point,) = experiment(tmp_path, design, workload, 16, "placements: [high]\n").points
    exact, near = (
        run_point(replace(point, without=without))
        for without in (Without(locks=(lock,)), Without(waits=(lock,)))
    )
    assert near.row.throughput_ops_per_us == pytest.approx(exact.row.throughput_ops_per_us, rel=0.01)


@pytest.mark.ci
def test_is_a_lock_that_the_model_needs_left_and_its_gain_called_an_estimate(tmp_path: Path) -> None:
    run(experiment(tmp_path, "linux-6.13", "mmap", 4, "placements: [high]\n"), out=tmp_path / "out")
    table = gains(tmp_path / "out", without=["lock: mmap_lock", "lock: vma"], replicates=1)
    row = table.loc[table["without"] == "lock: mmap_lock"].iloc[0]
    assert row["kind"] == Way.ESTIMATE
    assert row["remark"].startswith("the model needs the lock: ")
    assert "Error" not in row["remark"]
    assert row["gain"] > 1
    pair = table.loc[table["product"].notna()].iloc[0]
    assert pair["without"].count("lock: ") == 2
    alone = table.loc[table["without"].isin(["lock: mmap_lock", "lock: vma"]), "gain"] + 1
    assert pair["product"] + 1 == pytest.approx(math.prod(alone))


def cell(folder: Path, design: str = "linux-6.13") -> Cell:
    return experiment(folder, design, "mmap", 2, "placements: [low]\n").cells[0]


def spec_of(cell: Cell, text: str) -> Any:
    point = changed_point(cell, parse_change(text, read_catalogue()), 1, 0)
    assert point is not None
    return point


LOCK = parse_change("lock: mmap_lock", read_catalogue())
SWITCH = parse_change("design.switches.munmap_downgrade=false", read_catalogue())
DEEP = (
    'Traceback (most recent call last):\n  File "/x/sim/workload/run.py", line 1, in run\n'
    '  File "/x/sim/designs/linux/modify.py", line 2, in merge\nIndexError: out of range\n'
)


@pytest.mark.parametrize(
    ("change", "error", "told"),
    [
        (LOCK, "internal error: IndexError: x", "change the same data at once, and designs/linux/modify.py"),
        (SWITCH, "internal error: KeyError: 'x'", "linux/modify.py of the model does not know this value"),
        (SWITCH, "BrokenInvariant: 2 frames are lost", "the check of the end state fails: 2 frames are lost"),
        (SWITCH, "Refused: no room", "Refused: no room"),
    ],
)  # fmt: skip
def test_is_why_a_point_fails_without_it_a_sentence(
    change: Change, error: str, told: str, tmp_path: Path
) -> None:
    (point,) = experiment(tmp_path, "linux-6.13", "mmap", 1, "placements: [low]\n").points
    outcome = raised(point, ValueError())
    outcome = replace(outcome, row=replace(outcome.row, error=error), trace=DEEP)
    assert told in reason(outcome, change)


@pytest.mark.ci  # it reads all designs
def test_is_it_said_which_switch_does_not_fit_the_others(tmp_path: Path) -> None:
    found = experiment(tmp_path, "linux-6.1", "mmap", 1, "placements: [low]\n")
    breakdown = {place_of(each): {"vma": 1.0} for each in found.cells}
    (place,) = plan(found, breakdown, read_catalogue(), least=2).places
    why = {change.name: why for change, why in place.misfits}
    assert why["design.switches.maps_lock=vma"].startswith(
        "a reader of maps locks VMAs for reading, and there is no"
    )


def test_does_a_path_take_away_halve_or_switch(tmp_path: Path) -> None:
    here = cell(tmp_path)
    assert here.machine.spec.kernel.syscall.at(1_000_000_000) > 0
    assert spec_of(here, "machine.kernel.syscall").machine_spec.kernel.syscall.at(1_000_000_000) == 0
    whole = here.machine.spec.memory.clear_page
    half = spec_of(here, "machine.memory.clear_page=half").machine_spec.memory.clear_page
    assert half.at(1_000_000_000) == pytest.approx(whole.at(1_000_000_000) / 2, abs=1)
    assert not spec_of(here, "design.switches.lru_drain_on_zap").design_spec.switches.lru_drain_on_zap


def test_is_every_thing_of_the_catalogue_taken_away_from_a_machine_that_has_it(tmp_path: Path) -> None:
    here = cell(tmp_path)
    made = {name: changed_point(here, change, 1, 0) for name, change in read_catalogue().items()}
    assert {name for name, point in made.items() if point is None} == {"smt"}
    assert len({point.content for point in made.values() if point}) == len(made) - 1


@pytest.mark.ci  # it reads all designs
def test_are_switches_those_of_other_kernels(tmp_path: Path) -> None:
    names = [change.name for change in switches(cell(tmp_path).design)]
    assert "design.switches.lru_drain_on_zap=false" in names
    assert "design.switches.lru_drain_on_zap=true" not in names
    assert "design.protocol=rw" in [c.name for c in switches(cell(tmp_path, "cortenmm-adv").design)]


@pytest.mark.ci
def test_is_only_tried_what_takes_a_part_of_an_operation(tmp_path: Path) -> None:
    breakdown = {"lock: mmap_lock": 900.0, "vma": 95.0, "lock: lru": 5.0}
    names = [change.name for change in candidates(breakdown, cell(tmp_path).design, read_catalogue(), 0.01)]
    assert names[0] == "lock: mmap_lock"
    assert "lock: lru" not in names
    assert "zeroing" not in names


BAD = {
    "zeroin": "did you mean 'zeroing'",
    "lock:": "names nothing",
    "seed.x": "no such|no value|nothing",
    "machine.kernel.sycall": "none of these points has it",
    "design.switches.rss_stat": "neither a number nor a switch",
    "machine.kernel.syscall=fast": "syscall",
}


def test_is_what_cannot_be_taken_away_a_message(tmp_path: Path) -> None:
    run(experiment(tmp_path, "linux-6.13", "getppid1", 1, "placements: [threads]\n"), out=tmp_path / "out")
    for text, says in BAD.items():
        with pytest.raises(InputError, match=says):
            gains(tmp_path / "out", without=[text])
