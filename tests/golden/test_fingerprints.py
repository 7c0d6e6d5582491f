"""Do the golden points give what the table says, and would anybody notice if they did not?"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from golden import update
from golden.fingerprints import TABLE, Key, Line, changes, fingerprint, measure, read, report, write
from sim.engine import Probe
from sim.engine.probe import HOOKS
from sim.errors import InputError
from sim.experiment import COLUMNS, KEY
from sim.experiment.model import lacking
from sim.files import from_mapping, load_spec, presets
from sim.profile import RunReport

GOLDEN = read()
HEAVY = {key for key, line in GOLDEN.items() if int(line.fingerprint["events"]) > 100_000}
"""Points of many seconds: slow."""
EVENTS = Counter[str]()
for _key in GOLDEN.keys() - HEAVY:
    EVENTS[_key.workload] += int(GOLDEN[_key].fingerprint["events"])
WORKLOADS = [
    pytest.param(
        name,
        marks=pytest.mark.slow
        if EVENTS[name] > 500_000
        else pytest.mark.ci
        if EVENTS[name] > 100_000
        else (),
    )
    for name in sorted(EVENTS)
]
"""Those with many events are for CI, those with the most for the longer suite."""
HEARD = [
    pytest.param(name, marks=pytest.mark.slow if EVENTS[name] > 100_000 else ()) for name in sorted(EVENTS)
]
CHEAP = Key("tlb-ipi", "xeon-6252x2", "shootdown-one", "", 2, 2025)
TIMES = {
    "design": Key("linux-6.13", "epyc-9965-guest", "mmap", "low", 4, 2025),
    "machine": CHEAP,
    "workload": Key("lock", "xeon-e7-8895v3x4", "qspinlock-lock2", "", 2, 2025),
}
MEASURED = sorted(
    column for column in COLUMNS if column not in {*KEY, "status", "error"} and "_bytes" not in column
)
"""Columns of which every bit counts; what structures take of memory has exact tests (test_footprint)."""
ROW = dict.fromkeys(MEASURED, 1.0)
BREAKDOWN = {"user": 2.0, "lock": 1.0}


# -- the model ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("workload", WORKLOADS)
def test_do_golden_points_give_what_the_table_says(workload: str) -> None:
    compared(key for key in GOLDEN.keys() - HEAVY if key.workload == workload)


@pytest.mark.slow
@pytest.mark.parametrize("key", sorted(HEAVY), ids=str)
def test_does_a_heavy_golden_point_give_what_the_table_says(key: Key) -> None:
    compared([key])


def compared(keys: Iterable[Key]) -> None:
    found = {key: measure(key) for key in sorted(keys)}
    changed = changes(GOLDEN, found)
    if changed:
        hint = 'If this is meant: python -m tests.golden.update --reason "why these results change"'
        pytest.fail(f"{report(changed, len(found))}\n{hint}", pytrace=False)


class Everything(Probe):
    """Hears all hooks, so that all that is chosen by them is chosen."""

    def __init__(self) -> None:
        self.told = Counter(dict.fromkeys(HOOKS, 0))
        for hook in HOOKS:
            setattr(self, hook, partial(self._count, hook))

    def _count(self, hook: str, *arguments: object, **named: object) -> None:
        self.told[hook] += 1


@pytest.mark.parametrize("workload", HEARD)
def test_are_golden_points_the_same_when_somebody_listens(workload: str) -> None:
    """One point of each workload, the one with the fewest events."""
    cheapest = min(
        (key for key in GOLDEN if key.workload == workload),
        key=lambda key: int(GOLDEN[key].fingerprint["events"]),
    )
    listener = Everything()
    assert listener.hears("charge")
    report = RunReport()
    found = measure(cheapest, listeners=[listener, *report.listeners])
    assert changes(GOLDEN, {cheapest: found}) == {}
    assert listener.told["run_begins"] == listener.told["run_ends"] > 0


# -- the table ----------------------------------------------------------------------------------------------


def test_is_the_table_as_the_command_writes_it(tmp_path: Path) -> None:
    write(GOLDEN, tmp_path / "again.csv")
    assert TABLE.read_bytes() == (tmp_path / "again.csv").read_bytes()


def test_has_every_line_its_reason() -> None:
    assert [str(key) for key, line in GOLDEN.items() if not line.reason.strip()] == []


@pytest.mark.parametrize("kind", ["machine", "design"])
def test_is_every_machine_and_every_design_in_the_table(kind: str) -> None:
    assert sorted({getattr(key, kind) for key in GOLDEN}) == presets.names(kind)


def test_is_every_workload_in_the_table_with_all_its_placements() -> None:
    """One of those that differ only in which cpus they take stands for all of them."""
    shipped = presets.names("workload")
    assert set(shipped) == {key.workload for key in GOLDEN}
    for name in shipped:
        workload: Any = load_spec("workload", name).spec
        placements = workload.placement_names or [""]
        plans = {
            each: workload.plan(each).model_copy(update={"pinning": "cores-first"}) for each in placements
        }
        measured = {key.placement for key in GOLDEN if key.workload == name}
        assert measured <= set(placements), name
        assert all(plan in [plans[each] for each in measured] for plan in plans.values()), name


@pytest.mark.ci
def test_is_every_workload_in_the_table_under_each_design_that_makes_a_difference() -> None:
    """A workload that every design can run asks nothing of one: it runs on the hardware alone.

    Two releases of Linux and the two protocols of CortenMM stand for all that have the same operations, or
    fewer; each of the others has some point. Workloads of the rivals are for the designs that they were
    measured with, and have points with these.
    """
    everywhere = {"linux-5.1", "linux-6.13", "cortenmm-adv", "cortenmm-rw"}
    families = ("linux-", "cortenmm-", "asterinas-", "bonsai-", "interval-", "radixvm", "nros", "index-")
    releases = {name for name in presets.names("design") if name.startswith(families)} - everywhere
    designs = {
        name: load_spec("design", name).spec for name in presets.names("design") if name not in releases
    }
    for name, (path, *_) in presets.files_of("workload").items():
        if path.parent.name == "rivals":
            continue
        workload = load_spec("workload", name).spec
        fitting = {design for design, spec in designs.items() if not lacking(spec, workload)}
        if fitting != set(designs):
            assert fitting == {key.design for key in GOLDEN if key.workload == name} - releases, name


def test_is_a_faulty_table_refused_with_its_line(tmp_path: Path) -> None:
    table = tmp_path / "table.csv"
    header, line = TABLE.read_text().splitlines()[:2]
    for text, message in {
        header.replace("events,", ""): "columns",
        f"{header}\n{line}\n{line}": "table.csv:3: the same point twice",
        f"{header}\nlinux-6.13,desktop-8,mmap,low,four,2025,,,,,,,": "table.csv:2: threads and seed",
    }.items():
        table.write_text(text + "\n")
        with pytest.raises(InputError, match=message):
            read(table)


# -- the guard itself ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("point", "path", "value"),
    [
        (TIMES["design"], "design.costs.mmap_region", "171 cycles"),
        (TIMES["machine"], "machine.interrupts.handler", "1 us"),
        (TIMES["workload"], "workload.window.length", "399 us"),
    ],
    ids=list(TIMES),
)
def test_is_one_changed_value_reported_with_its_point(point: Key, path: str, value: str) -> None:
    changed = changes(GOLDEN, {point: measure(point, from_mapping({path: value}))})
    assert {"simulated_ns", "row", "breakdown"} <= set(changed.get(point, ()))
    before, now = changed[point]["row"]
    told = report(changed, 1)
    assert str(point) in told
    assert f"row: {before} -> {now}" in told
    assert before == GOLDEN[point].fingerprint["row"] != now


def test_does_another_seed_give_another_fingerprint() -> None:
    assert measure(TIMES["design"]) != measure(TIMES["design"]._replace(seed=7))


@pytest.mark.parametrize("column", MEASURED)
def test_does_the_last_bit_of_each_measured_column_count(column: str) -> None:
    """A column that fails here is new: name it in `PLAIN`, `HASHED` or `TALLIED` of fingerprints.py."""
    changed = ROW | {column: math.nextafter(ROW[column], 2)}
    assert fingerprint(changed, BREAKDOWN) != fingerprint(ROW, BREAKDOWN)


def test_does_the_breakdown_count_by_name_and_value_and_not_by_order() -> None:
    plain = fingerprint(ROW, BREAKDOWN)
    assert fingerprint(ROW, dict(reversed(BREAKDOWN.items()))) == plain
    for other in ({"user": 2.0, "lock": math.nextafter(1, 2)}, {"user": 2.0, "wait": 1.0}, {"user": 2.0}):
        assert fingerprint(ROW, other) == plain | {"breakdown": fingerprint(ROW, other)["breakdown"]} != plain


def test_do_throughput_and_new_columns_leave_the_hashes_alone() -> None:
    plain = fingerprint(ROW, BREAKDOWN)
    assert fingerprint(ROW | {"a_new_column": 3.0}, BREAKDOWN) == plain
    other = fingerprint(ROW | {"throughput_ops_per_us": 2.0}, BREAKDOWN)
    assert other == plain | {"throughput_ops_per_us": "2.0"}


# -- the command --------------------------------------------------------------------------------------------


def test_does_the_command_write_changed_lines_only_and_only_with_a_reason(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table, new = tmp_path / "table.csv", CHEAP._replace(threads=3)
    same, moved = CHEAP, CHEAP._replace(threads=20)
    empty = dict.fromkeys(GOLDEN[same].fingerprint, "")
    write(
        {
            same: Line(GOLDEN[same].fingerprint, "as ever"),
            moved: Line({**GOLDEN[moved].fingerprint, "events": "1"}, "as ever"),
            new: Line(empty, ""),
        },
        table,
    )
    before = table.read_bytes()

    assert update.update(table, "") == 2
    told = capsys.readouterr()
    assert f"2 of 3 golden points changed:\n  {new}\n    events: (new) -> " in told.out
    assert f"  {moved}\n    events: 1 -> {GOLDEN[moved].fingerprint['events']}\n" in told.out
    assert "--reason" in told.err
    assert table.read_bytes() == before

    assert update.update(table, "a cost changed") == 0
    assert read(table) == {
        same: Line(GOLDEN[same].fingerprint, "as ever"),
        new: Line(measure(new), "a cost changed"),
        moved: Line(GOLDEN[moved].fingerprint, "a cost changed"),
    }

    after = table.read_bytes()
    assert update.update(table, "") == 0
    assert table.read_bytes() == after
