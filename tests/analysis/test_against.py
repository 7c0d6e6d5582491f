"""Does each measured row meet the simulated point that it is about, and no other?"""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from suite import SUITE

from sim.analysis.against import COLUMNS, Against, against, read_measured
from sim.analysis.published import COLUMNS as PUBLISHED
from sim.analysis.tables import labelled
from sim.errors import InputError

MACHINE = "epyc-9965-guest"


@pytest.fixture
def hold(tmp_path: Path) -> Callable[..., Against]:
    """Holds points against rows `system,workload,placement,tasks,metric,value,unit`, or a suite's file."""

    def compare(points: pd.DataFrame, *rows: str, suite: str = "", **options: object) -> Against:
        path = tmp_path / "pf.csv"
        full = [f"toys,{MACHINE},{row},exact,0.1,check,me" for row in rows]
        path.write_text(suite or "\n".join([",".join(PUBLISHED), *full, ""]))
        names = options.get("names", {})
        reported = options.get("reported", lambda workload, placement: "over-time")
        return against(points, read_measured([path]), names, reported, lambda machine: 2_000_000_000)  # type: ignore[arg-type]

    return compare


@pytest.fixture
def pf(make_points: Callable[..., pd.DataFrame]) -> pd.DataFrame:
    """Two designs that do 2 operations a µs at any number of threads, and idle for 25 %."""
    return make_points(
        designs=("linux-6.13", "mine"), workloads=("pf",), placements=("threads", "processes"),
        threads=(1, 4, 8), curve=lambda *_: 2.0,
    ).assign(idle_share=0.25)  # fmt: skip


def test_is_a_row_beside_its_point_in_its_own_unit(hold, pf) -> None:
    table = hold(pf, "mine,pf,threads,4,throughput,1600,kops/s", "mine,pf,threads,4,latency,4,us").table
    assert list(table.columns) == list(COLUMNS)
    throughput, latency = table.to_dict("records")
    assert (throughput["design"], throughput["threads"], throughput["unit"]) == ("mine", 4, "kops/s")
    assert (throughput["simulated"], throughput["measured"]) == (2000, 1600)
    assert throughput["error"] == pytest.approx(0.25)
    assert latency["simulated"] == pytest.approx(1000 * 4 / 2.0 / 1000)
    assert latency["error"] == pytest.approx(-0.5)


def test_stands_idle_beside_throughput_and_alone_where_there_is_none(hold, pf) -> None:
    rows = ("linux-6.13,pf,threads,8,idle_share,30,%", "linux-6.13,pf,threads,8,throughput,2,ops/us")
    (row,) = hold(pf, *rows).table.to_dict("records")
    assert (row["metric"], row["simulated_idle_share"], row["measured_idle_share"]) == (
        "throughput",
        0.25,
        0.3,
    )
    (alone,) = hold(pf, rows[0]).table.to_dict("records")
    assert (alone["metric"], alone["simulated"], alone["measured"]) == ("idle_share", 25, 30)
    assert alone["error"] == pytest.approx(-0.05)


def test_are_repeated_rows_a_mean_with_its_interval(hold, pf) -> None:
    rows = [f"mine,pf,threads,4,throughput,{value},ops/us" for value in (1.0, 2.0, 3.0)]
    (row,) = hold(pf, *rows).table.to_dict("records")
    assert row["measured"] == 2.0
    half = 4.303 / math.sqrt(3)
    assert (row["measured_low"], row["measured_high"]) == pytest.approx((2 - half, 2 + half))
    assert math.isnan(row["simulated_low"]), "one replicate has no spread"


def test_are_replicates_a_mean_with_its_interval(hold, make_points) -> None:
    points = make_points(
        designs=("mine",), workloads=("pf",), placements=("threads",), threads=(4,), replicates=3
    )
    (row,) = hold(points, "mine,pf,threads,4,throughput,2,ops/us").table.to_dict("records")
    assert row["simulated"] == pytest.approx(points["throughput_ops_per_us"].mean())
    assert row["simulated_low"] < row["simulated"] < row["simulated_high"]


def test_is_the_throughput_that_the_benchmark_reports(hold, pf) -> None:
    points = pf.assign(throughput_from_latency_ops_per_us=5.0)
    (row,) = hold(
        points, "mine,pf,threads,4,throughput,5,ops/us", reported=lambda workload, placement: "from-latency"
    ).table.to_dict("records")
    assert (row["simulated"], row["error"]) == (5.0, 0)


def test_has_a_failed_point_no_error(hold, pf) -> None:
    points = pf.assign(status=["failed" if threads == 4 else "ok" for threads in pf["threads"]])
    (row,) = hold(points, "mine,pf,threads,4,throughput,2,ops/us").table.to_dict("records")
    assert math.isnan(row["simulated"])
    assert math.isnan(row["error"])


def test_does_a_file_of_the_suite_mean_the_only_machine_and_design(hold, pf) -> None:
    result = hold(pf.loc[pf["design"] == "mine"], suite=SUITE)
    assert set(result.table["design"]) == {"mine"}
    assert set(result.table["system"]) == {"unnamed-kernel"}
    found = {(row.placement, row.threads): row.measured for row in result.table.itertuples()}
    assert found == {
        ("processes", 1): 500000, ("threads", 1): 480000, ("processes", 4): 1900000, ("threads", 4): 900000,
        ("processes", 8): 3600000, ("threads", 8): 600000,
    }  # fmt: skip
    assert result.left_out == {}


def test_has_a_file_of_the_suite_to_be_told_apart_where_there_are_two_designs(hold, pf) -> None:
    with pytest.raises(InputError) as caught:
        hold(pf, suite=SUITE)
    (fault,) = caught.value.faults
    assert "which system of the run was measured?" in fault.message
    assert fault.allowed == "--as unnamed-kernel=linux-6.13, --as unnamed-kernel=mine"
    assert set(hold(pf, suite=SUITE, names={"unnamed-kernel": "mine"}).table["design"]) == {"mine"}


def test_do_threads_of_the_suite_mean_those_of_a_workload_without_placements(hold, make_points) -> None:
    points = make_points(designs=("lock",), workloads=("pf",), placements=("",), threads=(4,))
    result = hold(points, suite=SUITE)
    assert [(row.placement, row.measured) for row in result.table.itertuples()] == [("", 900000)]
    assert result.left_out == {
        "pf has no placement processes": 6,
        "pf was not run with 1, 8 threads": 4,
    }


def test_are_names_replaced_of_machine_system_workload_and_placement(hold, make_points) -> None:
    points = make_points(
        designs=("mine",), workloads=("mmap",), placements=("low",), threads=(4,), machine="m"
    )
    names = {MACHINE: "m", "abc123": "mine", "mmap1": "mmap", "threads": "low"}
    result = hold(points, "abc123,mmap1,threads,4,throughput,2,ops/us", names=names)
    (row,) = result.table.to_dict("records")
    assert [row[name] for name in ("machine", "design", "workload", "placement", "system")] == [
        "m", "mine", "mmap", "low", "abc123",
    ]  # fmt: skip
    (known,) = result.observations
    assert (known.machine, known.system, known.workload, known.placement) == ("m", "mine", "mmap", "low")


@pytest.mark.parametrize(
    ("names", "says"),
    [
        ({"min": "mine"}, "--as min=mine: nothing is called min (allowed: epyc-9965-guest, mine, pf, th"),
        ({"mine": "other"}, "--as mine=other: the run has no other (allowed: epyc-9965-guest, linux-6"),
    ],
)  # fmt: skip
def test_is_a_name_that_means_nothing_refused(hold, pf, names: dict[str, str], says: str) -> None:
    with pytest.raises(InputError) as caught:
        hold(pf, "mine,pf,threads,4,throughput,2,ops/us", names=names)
    (fault,) = caught.value.faults
    assert str(fault).startswith(says)


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ("theirs,pf,threads,4,throughput,2,ops/us", "the run has no system theirs"),
        ("mine,mmap,threads,4,throughput,2,ops/us", "the run has no workload mmap"),
        ("mine,pf,low,4,throughput,2,ops/us", "pf has no placement low"),
        ("mine,pf,,4,throughput,2,ops/us", "pf has no placement that is the only one"),
        ("mine,pf,threads,4,knee_threads,2,threads", "a run has no knee_threads"),
        ("mine,pf,threads,4,throughput,2,parsecs", "throughput cannot be told in parsecs"),
        ("mine,pf,threads,5,throughput,2,ops/us", "pf threads was not run with 5 threads"),
    ],
)
def test_is_said_why_a_row_is_not_compared(hold, pf, row: str, reason: str) -> None:
    result = hold(pf, row)
    assert result.table.empty
    assert result.left_out == {reason: 1}


def test_are_rows_at_other_thread_counts_kept_for_the_figure(hold, pf) -> None:
    rows = [f"mine,pf,threads,{count},throughput,2,ops/us" for count in (1, 2, 3, 5, 6, 7, 8, 10)]
    result = hold(pf, *rows)
    assert list(result.table["threads"]) == [1, 8]
    assert len(result.observations) == 8
    assert result.left_out == {"pf threads was not run with 2-3, 5-7, 10 threads": 6}


def test_has_each_swept_value_a_row(hold, pf) -> None:
    column = "machine.coherence.cross_socket"
    swept = pd.concat(
        [pf.assign(**{column: "240 ns"}), pf.assign(throughput_ops_per_us=1.0, **{column: "300 ns"})]
    )
    result = hold(labelled(swept), "mine,pf,threads,4,throughput,2,ops/us")
    found = [(row.variant, row.error) for row in result.table.itertuples()]
    assert found == [("cross_socket 240 ns", 0.0), ("cross_socket 300 ns", -0.5)]


def test_is_a_file_that_measures_nothing_one_fault(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("name: a\ntitle: b\n")
    (tmp_path / "b.csv").write_text(SUITE.replace("500000", "x", 1))
    with pytest.raises(InputError) as caught:
        read_measured([tmp_path / "a.csv", tmp_path / "b.csv"])
    first, second = map(str, caught.value.faults)
    assert first.startswith(f"{tmp_path}/a.csv:1: no measurements: no column is known (allowed: a header of")
    assert second.startswith(f"{tmp_path}/b.csv:3: processes: not understood (got 'x'")
