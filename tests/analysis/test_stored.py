"""Are tables that were cut, edited or made up noticed before anything is drawn from them?"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from sim.analysis.figures import plot_run
from sim.analysis.tables import CHANGED, read_run
from sim.errors import InputError

Write = Callable[..., Path]


@pytest.fixture
def run_dir(write_run: Write, make_points: Callable[..., pd.DataFrame]) -> Path:
    """A run of three designs at two thread counts."""
    return write_run(make_points(workloads=("pf",), placements=("low",), threads=(1, 2)))


def faults_of(run_dir: Path, as_is: bool = False) -> list[str]:
    with pytest.raises(InputError) as caught:
        read_run(run_dir, as_is=as_is)
    return [str(fault).removeprefix(f"{run_dir}/") for fault in caught.value.faults]


def edit(path: Path, change: Callable[[list[str]], list[str]]) -> None:
    path.write_text("\n".join(change(path.read_text().splitlines())) + "\n")


def test_is_a_cut_table_noticed_by_its_rows(run_dir: Path) -> None:
    edit(run_dir / "points.csv", lambda lines: lines[:-2])
    (fault,) = faults_of(run_dir)
    assert fault.startswith(
        "points.csv: changed after the run: it has 4 rows, and the run wrote 6 (allowed: "
    )
    assert "--resume" in fault
    assert "--as-is" in fault


def test_is_an_edited_number_noticed_by_the_checksum(run_dir: Path) -> None:
    edit(run_dir / "breakdown.csv", lambda lines: [*lines[:-1], lines[-1] + "1"])
    (fault,) = faults_of(run_dir)
    assert fault.startswith("breakdown.csv: changed after the run: it still has ")


def test_may_changed_tables_be_drawn_as_they_are_and_does_the_figure_say_so(run_dir: Path) -> None:
    edit(run_dir / "points.csv", lambda lines: lines[:-1])
    run = read_run(run_dir, as_is=True)
    assert run.title == "The paper's micro-benchmarks" + CHANGED
    assert len(run.points) == 5
    with pytest.raises(InputError):
        plot_run(run_dir)
    svg = next(path for path in plot_run(run_dir, as_is=True) if path.suffix == ".svg")
    assert svg.stat().st_size > 1000


def test_is_a_run_that_was_started_again_not_drawn_from_its_old_tables(run_dir: Path) -> None:
    manifest = json.loads((run_dir / "manifest.json").read_text())
    del manifest["tables"]
    (run_dir / "manifest.json").write_text(json.dumps(manifest | {"status": "running"}))
    assert faults_of(run_dir)[0].startswith("points.csv: older than the run, which was started again")
    assert read_run(run_dir, as_is=True).title.endswith(CHANGED)


def test_is_a_changed_parquet_file_noticed_too(run_dir: Path) -> None:
    (run_dir / "points.parquet").write_bytes(b"PAR1")
    path = run_dir / "manifest.json"
    manifest = json.loads(path.read_text())
    manifest["tables"]["points.parquet"] = {"sha256": "0" * 64, "rows": 6}
    path.write_text(json.dumps(manifest))
    (fault,) = faults_of(run_dir)
    assert fault.startswith(
        "points.parquet: changed after the run: its checksum is not the one in manifest.json"
    )


@pytest.mark.parametrize(
    ("column", "cell"),
    [
        ("threads", "0"),
        ("threads", "-4"),
        ("threads", "two"),
        ("threads", "1.5"),
        ("threads", "9" * 30),
        ("throughput_ops_per_us", "-1.5"),
        ("throughput_ops_per_us", "inf"),
        ("throughput_ops_per_us", "nan"),
        ("throughput_ops_per_us", "fast"),
        ("throughput_ops_per_us", ""),
        ("status", "fine"),
        ("design", ""),
        ("design", "x" * 300),
        ("seed", "-1"),
        ("replicate", "first"),
    ],
)
@pytest.mark.parametrize("as_is", [False, True])
def test_is_a_cell_that_no_run_writes_refused_with_its_place(
    run_dir: Path, column: str, cell: str, as_is: bool
) -> None:
    (run_dir / "manifest.json").unlink()

    def change(lines: list[str]) -> list[str]:
        cells = lines[3].split(",")
        cells[lines[0].split(",").index(column)] = cell
        return [*lines[:3], ",".join(cells), *lines[4:]]

    edit(run_dir / "points.csv", change)
    (fault,) = faults_of(run_dir, as_is)
    assert fault.startswith(f"points.csv:4: {column}: not what a run writes (got '{cell[:20]}")
    assert "allowed: " in fault


def test_is_a_point_that_stands_twice_refused_with_both_lines(run_dir: Path) -> None:
    (run_dir / "manifest.json").unlink()
    edit(run_dir / "points.csv", lambda lines: [*lines, lines[2]])
    assert faults_of(run_dir) == [
        "points.csv:8: the same point as on line 3 (allowed: every point once)",
    ]


def test_are_replicates_and_swept_values_different_points(write_run: Write, make_points: Write) -> None:
    points = make_points(workloads=("pf",), placements=("low",), threads=(1,), replicates=2)
    other = points.assign(**{"machine.tlb.entries": 64})
    both = pd.concat([points.assign(**{"machine.tlb.entries": 32}), other])
    assert len(read_run(write_run(both)).points) == 12


def test_is_a_row_of_another_length_refused(run_dir: Path) -> None:
    (run_dir / "manifest.json").unlink()
    edit(run_dir / "points.csv", lambda lines: [*lines[:2], lines[2] + ",7", *lines[3:]])
    (fault,) = faults_of(run_dir)
    assert fault.startswith("points.csv:3: ")
    assert "cells where the header has" in fault
