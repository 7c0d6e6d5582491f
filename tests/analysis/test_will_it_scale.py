"""Is a result file of will-it-scale read as its program means it, and written so that it reads back?"""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
from suite import SUITE

from sim.analysis.published import COLUMNS, Observation, read_published, write_published
from sim.analysis.will_it_scale import Names, mode_of, read_suite, unwritable, write_suite
from sim.errors import InputError

NAMES = Names("mmap1", "some-8", "linux-6.99")
HEADER = SUITE.splitlines()[0]


@pytest.fixture
def read(tmp_path: Path):
    def of(text: str) -> list[Observation]:
        path = tmp_path / "mmap1.csv"
        path.write_text(text)
        return read_suite(path, NAMES)

    return of


def short(row: Observation) -> tuple[str, int, str, float, str]:
    return row.placement, row.tasks, row.metric, row.value, row.unit


def test_is_every_mode_of_every_row_a_throughput_and_an_idle_share(read) -> None:
    rows = read(SUITE)
    assert [short(row) for row in rows[:4]] == [
        ("processes", 1, "throughput", 500000, "ops/s"),
        ("processes", 1, "idle_share", 87.51, "%"),
        ("threads", 1, "throughput", 480000, "ops/s"),
        ("threads", 1, "idle_share", 87.48, "%"),
    ]
    assert len(rows) == 3 * 4, "the row of no task is none"
    assert {(row.machine, row.system, row.workload, row.use) for row in rows} == {
        ("some-8", "linux-6.99", "mmap1", "check")
    }
    assert rows[-1].source == "will-it-scale, mmap1.csv line 5"


def test_is_a_machine_that_never_idles_told_so(read) -> None:
    assert ("processes", 8, "idle_share", 0, "%") in [short(row) for row in read(SUITE)]


def test_do_the_rows_read_back_from_the_published_format(read, tmp_path: Path) -> None:
    rows = read(SUITE)
    with (tmp_path / "rows.csv").open("w", newline="") as stream:
        write_published(rows, stream)
    assert [row.cells for row in read_published([tmp_path / "rows.csv"])] == [row.cells for row in rows]
    with (tmp_path / "rows.csv").open(newline="") as stream:
        assert tuple(next(csv.reader(stream))) == COLUMNS


@pytest.mark.parametrize("cells", ["0,0.00", "-1,100.00", "-1,0.00", ","])
def test_has_a_mode_that_did_not_run_no_row(read, cells: str) -> None:
    """The robot's copy runs one mode and writes 0; a test without an average has -1."""
    rows = read(f"{HEADER}\n4,{cells},900000,52.75,0\n")
    assert {row.placement for row in rows} == {"threads"}
    assert len(rows) == 2


def test_are_repeated_runs_all_read(read) -> None:
    rows = read(SUITE + SUITE.replace("600000", "650000.5"))
    found = [(row.value, row.source) for row in rows if short(row)[:3] == ("threads", 8, "throughput")]
    assert found == [
        (600000, "will-it-scale, mmap1.csv line 5"),
        (650000.5, "will-it-scale, mmap1.csv line 10, run 2"),
    ]


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("4,1900000", "four,1900000", ":4: tasks: not understood (got 'four'; allowed: a whole number from"),
        ("1900000", "fast", ":4: processes: not understood (got 'fast'; allowed: operations a second from 0"),
        ("1900000", "-2", ":4: processes: not understood (got '-2'"),
        ("50.02", "150.02", ":4: processes_idle: not understood (got '150.02'; allowed: per cent, from"),
        ("52.75", "nan", ":4: threads_idle: not understood (got 'nan'"),
        (",2000000", "", ":4: 5 cells where the header has 6"),
        ("threads_idle", "idle", ":1: unknown column (got 'idle'"),
        (",linear", ",threads", ":1: threads: column named twice"),
        (SUITE[SUITE.index("1,5") :], "", ":1: no test ran in this file"),
        (SUITE, "", ": empty: the first line must name the columns (allowed: tasks,"),
    ],
)  # fmt: skip
def test_is_a_bad_cell_told_with_its_line_and_column(
    read, tmp_path: Path, old: str, new: str, says: str
) -> None:
    with pytest.raises(InputError) as caught:
        read(SUITE.replace(old, new, 1))
    assert str(caught.value.faults[0]).startswith(f"{tmp_path}/mmap1.csv{says}"), caught.value


def test_is_each_bad_cell_one_message(read) -> None:
    with pytest.raises(InputError) as caught:
        read(SUITE.replace("500000,87.51", "x,y").replace("71.30", "z"))
    places = [(fault.line, fault.key) for fault in caught.value.faults]
    assert places == [(3, "processes"), (3, "processes_idle"), (5, "threads_idle")]


# -- written ------------------------------------------------------------------------------------------------


def test_do_points_read_back_as_what_was_measured(make_points, tmp_path: Path) -> None:
    points = make_points(
        designs=("linux-6.13", "mine"), workloads=("mmap1",), placements=("processes", "threads"),
        threads=(1, 8), curve=lambda design, workload, placement, threads: threads * 1.5,
    ).assign(idle_share=0.125)  # fmt: skip
    paths = write_suite(points, tmp_path)
    machine = points["machine"].iloc[0]
    assert [path.relative_to(tmp_path) for path in paths] == [
        Path(machine, "linux-6.13", "mmap1.csv"),
        Path(machine, "mine", "mmap1.csv"),
    ]
    assert paths[0].read_text() == (
        f"{HEADER}\n0,0,100,0,100,0\n1,1500000,12.50,1500000,12.50,1500000\n8,12000000,12.50,12000000,12.50,12000000\n"
    )
    assert {short(row) for row in read_suite(paths[0], NAMES) if row.tasks == 8} == {
        ("processes", 8, "throughput", 12e6, "ops/s"),
        ("processes", 8, "idle_share", 12.5, "%"),
        ("threads", 8, "throughput", 12e6, "ops/s"),
        ("threads", 8, "idle_share", 12.5, "%"),
    }


def test_is_a_mode_that_was_not_run_zero_and_a_failed_point_minus_one(make_points, tmp_path: Path) -> None:
    points = make_points(designs=("mine",), workloads=("lock2",), placements=("",), threads=(2, 4))
    points = points.assign(idle_share=0.5, throughput_ops_per_us=2.0)
    points.loc[points["threads"] == 4, ["status", "throughput_ops_per_us", "idle_share"]] = [
        "failed",
        None,
        None,
    ]
    (path,) = write_suite(points, tmp_path)
    assert path.read_text().splitlines()[2:] == ["2,0,0.00,2000000,50.00,0", "4,0,0.00,-1,0.00,0"]
    assert [row.tasks for row in read_suite(path, NAMES)] == [2, 2]


def test_is_each_replicate_a_run_of_its_own(make_points, tmp_path: Path) -> None:
    points = make_points(
        designs=("mine",), workloads=("lock2",), placements=("threads",), threads=(1,), replicates=3
    ).assign(idle_share=0.5)
    (path,) = write_suite(points, tmp_path)
    assert path.read_text().count(HEADER) == 3
    found = [row.value for row in read_suite(path, NAMES) if row.metric == "throughput"]
    assert found == [round(1e6 * value) for value in points["throughput_ops_per_us"]]


def test_which_runs_have_no_place_in_the_format() -> None:
    assert [mode_of(name) for name in ("", "threads", "processes", "low")] == [
        "threads",
        "threads",
        "processes",
        None,
    ]
    faults = unwritable(
        [("pf", "low", False), ("pf", "low", False), ("mmap1", "threads", True), ("a", "", False)]
    )
    assert [str(fault) for fault in faults] == [
        "--format will-it-scale: will-it-scale's format has no place for this placement of pf "
        "(got 'low'; allowed: processes, threads)",
        "--format will-it-scale: will-it-scale's format has no place for swept values of mmap1 "
        "(allowed: an experiment without `sweep` and `zip`)",
    ]
