"""Does what is counted by object agree with the breakdown and with the table of locks of a point?"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from functools import cache

import pytest

from sim.experiment import Outcome, load, run_point
from sim.profile import Objects
from sim.profile.objects import Book

POINTS = [
    ("linux-6.13", "unmap"),
    ("cortenmm-adv", "unmap"),
    ("linux-5.17", "mmap-pf"),
    ("cortenmm-rw", "pf"),
]


@cache
def both(design: str, workload: str) -> tuple[Outcome, Outcome, Book]:
    """A point with the report of its locks, the same profiled by object, and what that says. It has no
    window, so that all of the run counts."""
    experiment = load(
        "paper-micro",
        {
            "threads": [4],
            "designs": [design],
            "workloads": [workload],
            "placements": ["high"],
            "workload.pooled_threads": 4,
        },
    )
    point = experiment.points[0]
    objects = Objects()
    return run_point(replace(point, profile=True)), run_point(point, listeners=[objects]), objects.total


@pytest.mark.parametrize(("design", "workload"), POINTS)
def test_are_the_results_the_same(design: str, workload: str) -> None:
    plain, profiled, _ = both(design, workload)
    assert plain.row.status == "ok", plain.row.error
    assert plain.row == profiled.row
    assert plain.breakdown == profiled.breakdown


@pytest.mark.parametrize(("design", "workload"), POINTS)
def test_are_waits_and_holds_those_of_the_table_of_locks(design: str, workload: str) -> None:
    plain, _, book = both(design, workload)
    rows = {(row["lock"], row["mode"], row["activity"]): row for row in plain.locks if row["locks"] == 1}
    assert len(rows) > 3
    for key, row in rows.items():
        if key[0] == "others":
            continue
        use = book.locks.values[key]
        counts = use.acquisitions, use.contended, use.missed
        assert counts == (row["acquisitions"], row["contended"], row["missed"])
        times = use.wait, use.wait_max, use.hold, use.hold_max
        assert [time / 1000 for time in times] == [
            row[f"{name}_ns"] for name in ("wait", "wait_max", "hold", "hold_max")
        ]


@pytest.mark.parametrize(("design", "workload"), POINTS)
def test_are_the_charges_the_breakdown(design: str, workload: str) -> None:
    """To the picosecond, of all threads; but for the idle time of those that have ended."""
    _, profiled, book = both(design, workload)
    operations = profiled.row.operations
    assert operations is not None
    for activity, ns in profiled.breakdown.items():
        assert book.spent[activity] == round(1000 * ns * operations), activity


@pytest.mark.parametrize(("design", "workload"), POINTS)
def test_is_the_time_of_a_lock_that_of_its_waits_and_releases(design: str, workload: str) -> None:
    """What the breakdown has under a lock's activity is charged while somebody waits for it, in a release,
    or in a wait for another lock that it is a part of. The rest of a wait is switching and interrupts."""
    *_, book = both(design, workload)
    activities = {activity for _, _, activity in book.kinds}
    for activity in activities:
        in_waits = sum(time for (_, charged), time in book.in_waits.items() if charged == activity)
        releases = sum(use.release for (_, _, mine), use in book.kinds.items() if mine == activity)
        assert in_waits + releases == book.spent[activity], activity
    waits: Counter[str] = Counter()
    for (kind, _, _), use in book.kinds.items():
        waits[kind] += use.wait - use.nested
    charged: Counter[str] = Counter()
    for (kind, _), time in book.in_waits.items():
        charged[kind] += time
    assert +charged == +waits


@pytest.mark.parametrize(("design", "workload"), POINTS)
def test_do_parts_and_roots_sum_to_holds_and_waits(design: str, workload: str) -> None:
    *_, book = both(design, workload)
    for (kind, mode, activity), use in book.kinds.items():
        assert sum(use.parts.values()) == use.hold, kind
        assert min(use.parts.values(), default=0) >= 0, kind
        assert sum(time for key, time in book.holds.items() if key[:2] == (kind, mode)) == use.hold
        assert sum(time for key, time in book.roots.items() if key[:2] == (kind, mode)) == use.wait, activity
        assert sum(use.pairs.values()) == use.wait
        assert use.hold_max <= use.hold
    outermost = sum(use.wait - use.nested for use in book.kinds.values())
    assert sum(book.chains.values()) == outermost
