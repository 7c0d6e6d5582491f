"""Are published measurements read exactly, and bad ones refused with their place?"""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from sim.analysis.published import COLUMNS, default_files, read_published, select_datasets
from sim.errors import InputError

GOOD = "d,m,linux-6.13,pf,low,8,throughput,1.5,ops/us,exact,0.2,check,somebody"


def write(folder: Path, *rows: str, header: str = ",".join(COLUMNS), name: str = "data.csv") -> Path:
    path = folder / name
    path.write_text("\n".join([header, *rows, ""]), encoding="utf-8")
    return path


def faults_of(path: Path) -> list[str]:
    with pytest.raises(InputError) as caught:
        read_published([path])
    return [str(fault) for fault in caught.value.faults]


def test_is_every_cell_of_a_good_row_typed(tmp_path: Path) -> None:
    path = write(tmp_path, GOOD)
    (row,) = read_published([path])
    assert (row.tasks, row.value, row.tolerance, row.placement) == (8, 1.5, 0.2, "low")
    assert (row.file, row.line) == (str(path), 2)
    assert row.key == "d/linux-6.13/pf/low/8/throughput"


def test_do_all_files_of_the_project_read_back_cell_by_cell() -> None:
    for path in default_files():
        with path.open(newline="", encoding="utf-8") as stream:
            written = [tuple(row) for row in csv.reader(stream)][1:]
        assert [row.cells for row in read_published([path])] == written


def test_may_columns_stand_in_any_order(tmp_path: Path) -> None:
    header = ",".join(reversed(COLUMNS))
    path = write(tmp_path, ",".join(reversed(GOOD.split(","))), header=header)
    assert read_published([path])[0].cells == tuple(GOOD.split(","))


def test_is_the_line_of_a_row_the_one_where_it_starts(tmp_path: Path) -> None:
    long_source = GOOD.replace("somebody", '"two\nlines"')
    path = write(tmp_path, long_source, GOOD.replace("1.5", "fast"))
    assert faults_of(path)[0].startswith(f"{path}:4: value:")


@pytest.mark.parametrize(
    ("old", "new", "column", "says"),
    [
        (",8,", ",0,", "tasks", "a whole number from 1"),
        (",8,", ",8.5,", "tasks", "a whole number from 1"),
        ("1.5", "nan", "value", "a finite number above 0"),
        ("1.5", "0", "value", "a finite number above 0"),
        ("1.5", "-1.5", "value", "a finite number above 0"),
        ("1.5", "1_000", "value", "a finite number above 0"),
        ("1.5", "fast", "value", "got 'fast'"),
        ("0.2", "-0.2", "tolerance", "a finite number from 0"),
        ("exact", "rough", "exactness", "exact, approx, derived"),
        ("check", "train", "use", "calibrate, check"),
        ("somebody", "", "source", "empty cell"),
        ("linux-6.13", " ", "system", "empty cell"),
    ],
)
def test_is_a_bad_cell_named_with_file_line_and_what_is_allowed(
    tmp_path: Path, old: str, new: str, column: str, says: str
) -> None:
    path = write(tmp_path, GOOD, GOOD.replace(old, new))
    (fault,) = faults_of(path)
    assert fault.startswith(f"{path}:3: {column}: ")
    assert says in fault


def test_are_all_faults_of_all_files_reported_at_once(tmp_path: Path) -> None:
    first = write(tmp_path, GOOD.replace("1.5", "x"), GOOD + ",extra", name="first.csv")
    second = write(tmp_path, GOOD.replace("check", "x"), name="second.csv")
    with pytest.raises(InputError) as caught:
        read_published([first, second])
    assert [(fault.file, fault.line) for fault in caught.value.faults] == [
        (str(first), 2),
        (str(first), 3),
        (str(second), 2),
    ]


def test_is_a_misspelt_column_named_with_the_nearest(tmp_path: Path) -> None:
    header = ",".join(COLUMNS).replace("tolerance", "tolerence")
    assert any(
        "did you mean 'tolerance'?" in fault for fault in faults_of(write(tmp_path, GOOD, header=header))
    )


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "empty"),
        (b"\xff\xfe\x00", "not UTF-8"),
        (",".join(COLUMNS).encode() + b"\n", "no observation"),
        (",".join(COLUMNS).encode() + b'\n"unclosed', "not CSV"),
    ],
)
def test_is_a_file_that_is_no_table_refused(tmp_path: Path, content: bytes, says: str) -> None:
    path = tmp_path / "bad.csv"
    path.write_bytes(content)
    (fault,) = faults_of(path)
    assert says in fault


@pytest.mark.parametrize("make", [lambda path: None, Path.mkdir])
def test_is_an_unreadable_place_one_fault(tmp_path: Path, make: object) -> None:
    path = tmp_path / "absent.csv"
    make(path)  # type: ignore[operator]
    (fault,) = faults_of(path)
    assert "cannot read the file" in fault or "a directory, not a file" in fault


def test_does_a_byte_order_mark_do_no_harm(tmp_path: Path) -> None:
    path = tmp_path / "bom.csv"
    path.write_text(",".join(COLUMNS) + "\n" + GOOD + "\n", encoding="utf-8-sig")
    assert len(read_published([path])) == 1


def test_is_an_unknown_dataset_answered_with_the_nearest(tmp_path: Path) -> None:
    rows = read_published([write(tmp_path, GOOD, GOOD.replace("d,m", "locks,m"))])
    assert [row.dataset for row in select_datasets(rows, ["locks"])] == ["locks"]
    with pytest.raises(InputError, match="did you mean 'locks'"):
        select_datasets(rows, ["lokcs"])


def test_may_an_idle_share_alone_be_zero(tmp_path: Path) -> None:
    idle = GOOD.replace("throughput,1.5,ops/us", "idle_share,0,%")
    assert read_published([write(tmp_path, idle)])[0].value == 0
    (fault,) = faults_of(write(tmp_path, idle.replace(",0,%", ",-1,%")))
    assert (
        fault == f"{tmp_path}/data.csv:2: value: not understood (got '-1'; allowed: a finite number from 0)"
    )
