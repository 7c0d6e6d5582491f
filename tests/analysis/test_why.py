"""Does what changed between two runs add up, and is it only told where it is more than luck?"""

from __future__ import annotations

import pandas as pd
import pytest

from sim.analysis.two_runs import TwoRuns, two_runs
from sim.analysis.why import ALL, changes, of_activities, of_locks, summary

PLACE = {"machine": "box", "workload": "unmap", "placement": "low"}


def points(design: str, throughputs: list[float]) -> pd.DataFrame:
    rows = [
        {**PLACE, "design": design, "threads": 8, "seed": 7 + n, "replicate": n, "status": "ok",
         "throughput_ops_per_us": value, "operations": 100}
        for n, value in enumerate(throughputs)
    ]  # fmt: skip
    return pd.DataFrame(rows)


def breakdown(design: str, **times: list[float]) -> pd.DataFrame:
    rows = [
        {**PLACE, "design": design, "threads": 8, "seed": 7 + n, "replicate": n,
         "activity": activity.replace("_", " "), "ns_per_op": value}
        for activity, values in times.items()
        for n, value in enumerate(values)
    ]  # fmt: skip
    return pd.DataFrame(rows)


def compared(first: pd.DataFrame, second: pd.DataFrame, **names: str) -> tuple[TwoRuns, pd.DataFrame]:
    counts = [frame["replicate"].nunique() for frame in (first, second)]
    designs = [frame["design"].iloc[0] for frame in (first, second)]
    runs = [points(design, [1.0] * count) for design, count in zip(designs, counts, strict=True)]
    result = two_runs(*runs, names)
    return result, changes(of_activities(first), of_activities(second), "activity", names, result)


def test_do_the_changes_add_up_to_that_of_the_operation() -> None:
    """IPIs are only in the first run and zeroing only in the second."""
    first = breakdown("a", user=[10.0], ipi=[300.0], lock=[50.0])
    second = breakdown("a", user=[10.0], zero=[40.0], lock=[75.0])
    _, table = compared(first, second)
    change = table.set_index("what")["change_ns"]
    assert dict(change) == {ALL: -235.0, "user": 0.0, "ipi": -300.0, "zero": 40.0, "lock": 25.0}
    assert change.drop(ALL).sum() == change[ALL]
    assert summary(table)[1:] == [
        "  a, 8 threads: 360 ns an operation -> 125 ns: ipi -300 ns, zero +40 ns, lock +25 ns"
    ]


def test_is_luck_not_told() -> None:
    """Paired replicates: the lock gains 20 in each, the user's time 30 in one and loses 28 in the other."""
    first = breakdown("a", lock=[500.0, 600.0, 700.0], user=[100.0, 100.0, 100.0])
    second = breakdown("a", lock=[519.0, 620.0, 721.0], user=[130.0, 72.0, 101.0])
    _, table = compared(first, second)
    told = table.set_index("what")
    assert dict(told["significant"]) == {ALL: "no", "lock": "yes", "user": "no"}
    assert told.loc["lock", "change_ns"] == pytest.approx(20)
    assert told.loc["lock", "change_high_ns"] - 20 == pytest.approx(4.303 / 3**0.5)
    assert "user" not in summary(table)[1]


def test_may_two_designs_be_compared() -> None:
    _, table = compared(breakdown("a", user=[10.0]), breakdown("b", user=[30.0]), b="a")
    assert summary(table)[1:] == ["  a, 8 threads: 10 ns an operation -> 30 ns: user +20 ns"]


def test_are_locks_of_a_kind_and_their_modes_one() -> None:
    run = points("a", [1.0])
    waits = [
        ("vm_lock of 0x7f01", "read", 300.0),
        ("vm_lock of 0x7f02", "write", 500.0),
        ("lru", "write", 1e4),
    ]
    rows = [{**row, "lock": lock, "mode": mode, "wait_ns": wait}
            for row in run.drop(columns=["operations", "status"]).to_dict("records")
            for lock, mode, wait in waits]  # fmt: skip
    table = of_locks(pd.DataFrame(rows), run)
    assert dict(zip(table["what"], table["ns"], strict=True)) == {"vm_lock of *": 8.0, "lru": 100.0}
