"""Do run tables read back, and do means and ratios say what they should?"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from sim.analysis.activities import MOST_GROUPS, OTHER, group_colour, group_of, grouped
from sim.analysis.tables import averaged, default_baseline, finished, ratio_to, read_run, student_t_95
from sim.errors import InputError


def test_does_a_run_directory_read_back_as_it_was_written(write_run, points, breakdown) -> None:
    run = read_run(write_run(points, breakdown))
    pd.testing.assert_frame_equal(run.points, points, check_dtype=False)
    pd.testing.assert_frame_equal(run.breakdown, breakdown, check_dtype=False)
    assert (run.name, run.title) == ("paper-micro", "The paper's micro-benchmarks")


def test_is_an_empty_placement_a_name_and_an_empty_number_missing(write_run, make_points) -> None:
    points = make_points(placements=("",), workloads=("pf",), threads=(1, 2))
    points.loc[0, "throughput_ops_per_us"] = np.nan
    points.loc[0, ["status", "error"]] = ["failed", "Deadlock: threads wait"]
    read = read_run(write_run(points)).points
    assert set(read["placement"]) == {""}
    assert read["throughput_ops_per_us"].isna().sum() == 1
    assert len(finished(read)) == len(points) - 1


@pytest.mark.parametrize("absent", ["points.csv", "breakdown.csv"])
def test_is_a_missing_table_one_clear_fault(write_run, points, absent: str) -> None:
    run_dir = write_run(points)
    (run_dir / absent).unlink()
    with pytest.raises(InputError, match=rf"{absent}: not a finished run"):
        read_run(run_dir)


def test_is_a_missing_column_named(write_run, points, breakdown) -> None:
    run_dir = write_run(points.drop(columns="seed"), breakdown)
    with pytest.raises(InputError, match=r"points.csv:1: seed: missing column"):
        read_run(run_dir)


def test_is_no_directory_one_clear_fault(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such run directory"):
        read_run(tmp_path / "nowhere")


def test_does_the_directory_name_stand_in_for_a_missing_manifest(write_run, points) -> None:
    run_dir = write_run(points)
    (run_dir / "manifest.json").unlink()
    assert read_run(run_dir).title == run_dir.name


def test_is_the_interval_of_three_replicates_that_of_student(make_points) -> None:
    points = make_points(
        designs=("linux-6.13",), workloads=("pf",), placements=("low",), threads=(1,), replicates=3
    )
    points["throughput_ops_per_us"] = [9.0, 10.0, 11.0]
    (row,) = averaged(points).to_dict("records")
    assert (row["mean"], row["replicates"]) == (10.0, 3)
    assert row["high"] - row["mean"] == pytest.approx(4.303 / 3**0.5)
    assert row["mean"] - row["low"] == pytest.approx(4.303 / 3**0.5)


def test_has_one_replicate_no_interval(points) -> None:
    table = averaged(points)
    assert table["low"].isna().all()
    assert table["high"].isna().all()


@pytest.mark.parametrize(
    ("degrees", "quantile"), [(1, 12.706), (30, 2.042), (31, 2.040), (100, 1.984), (10**6, 1.96)]
)
def test_is_the_quantile_of_student_right(degrees: int, quantile: float) -> None:
    assert student_t_95(degrees) == pytest.approx(quantile, abs=6e-4)


def test_is_a_ratio_taken_at_the_same_place_and_replicate(make_points) -> None:
    points = make_points(replicates=2)
    ratios = ratio_to(points, "linux-6.13")
    base = points[points["design"] == "linux-6.13"]
    adv = ratios[ratios["design"] == "cortenmm-adv"]
    assert set(ratios.loc[ratios["design"] == "linux-6.13", "ratio"]) == {1.0}
    expected = adv["throughput_ops_per_us"].to_numpy() / base["throughput_ops_per_us"].to_numpy()
    np.testing.assert_allclose(adv["ratio"], expected)


def test_has_a_point_without_its_baseline_no_ratio(points) -> None:
    gone = points.copy()
    gone.loc[(gone["design"] == "linux-6.13") & (gone["threads"] == 64), "status"] = "failed"
    assert 64 not in set(ratio_to(gone, "linux-6.13")["threads"])


def test_is_an_unknown_baseline_refused(points) -> None:
    with pytest.raises(InputError, match="not in this run"):
        ratio_to(points, "windows")


def test_does_a_frame_that_carries_its_breakdown_merge(points, breakdown) -> None:
    carrying = points.copy()
    carrying.attrs["breakdown"] = breakdown
    assert len(ratio_to(carrying, "linux-6.13")) == len(points)
    assert "breakdown" in carrying.attrs


def test_is_linux_the_baseline_when_it_is_there() -> None:
    assert default_baseline(["cortenmm-rw", "linux-6.13"]) == "linux-6.13"
    assert default_baseline(["my-idea", "cortenmm-rw"]) == "my-idea"


def test_do_groups_keep_all_the_time_there_is(breakdown) -> None:
    keys = ["design", "workload", "placement", "threads"]
    table = grouped(breakdown, keys)
    totals = breakdown.groupby(keys, sort=False)["ns_per_op"].sum()
    np.testing.assert_allclose(table.sum(axis=1), totals.loc[table.index])


def test_are_there_never_more_groups_than_a_reader_can_tell_apart() -> None:
    strangers = pd.DataFrame(
        {"design": "d", "activity": [f"stage {n}" for n in range(25)], "ns_per_op": range(1, 26)}
    )
    table = grouped(strangers, ["design"])
    assert table.shape[1] == MOST_GROUPS
    assert table.columns[-1] == OTHER
    assert "stage 24" in table.columns
    assert table.to_numpy().sum() == sum(range(1, 26))


def test_are_replicates_averaged_before_they_are_grouped() -> None:
    frame = pd.DataFrame(
        {
            "design": "d",
            "replicate": [0, 0, 1, 1],
            "activity": ["allocate", "zero"] * 2,
            "ns_per_op": [1, 2, 3, 4],
        }
    )
    assert grouped(frame, ["design"]).loc["d", "frames"] == 5.0


def test_does_an_unknown_lock_join_the_other_locks() -> None:
    assert group_of("lock: my new lock") == group_of("lock: zone")
    assert group_of("my new stage") == "my new stage"
    assert group_colour("my new stage") == group_colour("my new stage")
