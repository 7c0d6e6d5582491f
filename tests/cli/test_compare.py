"""Does `compare` join, print, write and draw what it says, from a real run?"""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
from answers import Command

from sim.analysis import against, two_runs

EXPERIMENT = """\
name: locks
title: Two locks
machine: xeon-6252x2
designs: [lock]
workloads: [mcs-lock2, ticket-lock2]
threads: [1, 4]
replicates: 2
"""
QUIET = ("--workers", "1", "--no-plots", "--quiet")
SUITE_FILE = "will-it-scale/xeon-6252x2/lock/mcs-lock2.csv"


@pytest.fixture
def run(command: Command, folder: Path) -> Path:
    """A run of two locks that was also written as will-it-scale does."""
    (folder / "locks.yaml").write_text(EXPERIMENT)
    answer = command("run", "locks.yaml", "--format", "will-it-scale", *QUIET)
    assert (answer.code, answer.err) == (0, "")
    return folder / "results/locks"


def test_does_a_run_written_as_the_suite_compare_with_itself(command: Command, run: Path) -> None:
    """Only the rounding of whole operations a second and hundredths of a per cent lies between."""
    answer = command("compare", "locks", run / SUITE_FILE)
    assert (answer.code, answer.err) == (0, "")
    table = pd.read_csv(run / "compare/compare.csv", keep_default_na=False)
    assert list(table.columns) == list(against.COLUMNS)
    assert list(table["threads"]) == [1, 4]
    assert table["error"].abs().max() < 1e-6
    assert (table["simulated_idle_share"] - table["measured_idle_share"]).abs().max() < 1e-4
    idle = pd.read_csv(run / "points.csv").groupby("threads")["idle_share"].mean()
    assert list(table["simulated_idle_share"]) == pytest.approx(list(idle))
    assert "error of throughput: median 0.0%, worst 0.0%, over 2 rows" in answer.out
    assert (run / "compare/compare.png").read_bytes().startswith(b"\x89PNG")


def test_does_an_imported_file_compare_as_the_file_itself(command: Command, run: Path) -> None:
    names = ("--machine", "xeon-6252x2", "--system", "lock")
    text = (run / SUITE_FILE).read_text()
    Path("mcs-lock2.csv").write_text(text.replace("1,0,0.00,", "1,0,0.00,2"))
    assert command("import", "will-it-scale", "mcs-lock2.csv", *names, "--out", "rows.csv").code == 0
    assert command("compare", run, "rows.csv", "--out", "a").code == 0
    assert command("compare", run, "mcs-lock2.csv", "--out", "b").code == 0
    imported, direct = (
        pd.read_csv(f"{name}/compare.csv").drop(columns=["system", "source"]) for name in "ab"
    )
    pd.testing.assert_frame_equal(imported, direct)
    assert imported["error"].min() < -0.5


def test_are_two_runs_compared_with_interval_and_significance(command: Command, run: Path) -> None:
    faster = ("--set", "machine.coherence.same_cluster=25 ns", "--out", "results/faster")
    assert command("run", "locks.yaml", *faster, *QUIET).code == 0
    answer = command("compare", "locks", "faster", "--out", "new")
    assert (answer.code, answer.err) == (0, "")
    table = pd.read_csv("new/compare.csv", keep_default_na=False)
    assert list(table.columns) == list(two_runs.COLUMNS)
    four = table.loc[table["threads"] == 4].set_index("workload")
    assert four.loc["ticket-lock2", "ratio"] > 1.02
    assert four.loc["ticket-lock2", "significant"] == "yes"
    assert list(table.loc[table["threads"] == 1, "significant"]) == ["no", "no"]
    assert "differences are significant at 95 %" in answer.out
    assert [path.name for path in sorted(Path("new").glob("*.png"))] == ["compare.png", "ratio.png"]


def test_are_two_names_of_one_run_compared(command: Command, run: Path) -> None:
    answer = command("compare", run, run, "--as", "ticket-lock2=mcs-lock2", "--out", "new")
    assert (answer.code, answer.err) == (0, "")
    table = pd.read_csv("new/compare.csv")
    points = pd.read_csv(run / "points.csv")
    means = points.groupby(["workload", "threads"])["throughput_ops_per_us"].mean()
    assert list(table["workload"]) == ["mcs-lock2"] * 2
    assert list(table["second_ops_per_us"]) == pytest.approx(list(means["ticket-lock2"]))


def test_is_a_run_over_it_no_matter_what_was_compared(command: Command, run: Path) -> None:
    """The folder of a run stays that of a run."""
    assert command("compare", run, run / SUITE_FILE).code == 0
    assert command("run", "locks.yaml", "--resume", *QUIET).code == 0
    assert command("plot", run).code == 0


def test_is_nothing_in_common_a_failure_with_its_reasons(command: Command, run: Path) -> None:
    Path("brk1.csv").write_text((run / SUITE_FILE).read_text())
    answer = command("compare", run, "brk1.csv", "--out", "new")
    assert (answer.code, answer.err) == (
        1,
        "no measured row has a place in this run: the reasons stand above\n",
    )
    assert "8 rows: the run has no workload brk1" in answer.out
    assert list(Path("new").iterdir()) == []


def test_which_input_is_refused(command: Command, run: Path) -> None:
    Path("rows.csv").write_text("a,b\n1,2\n")
    Path("mcs-lock2.csv").write_text((run / SUITE_FILE).read_text().replace(",0.00,", ",0,", 1))
    Path("bad.csv").write_text((run / SUITE_FILE).read_text().replace("\n1,0,", "\n1,many,"))
    for arguments, says in {
        ("gone", "rows.csv"): "gone: no such run, and no such file",
        (run, "gone"): "gone: no such run, and no such file",
        ("rows.csv", run): "rows.csv: no such run directory",
        (run, "rows.csv"): "rows.csv:1: no measurements: no column is known",
        (run, "bad.csv"): "bad.csv:3: processes: not understood (got 'many'",
        (run, run, "mcs-lock2.csv"): "one run can be compared with one other",
        (run, "mcs-lock2.csv", "--as", "mcs-lock2"): "--as mcs-lock2: not understood (allowed: NAME=OTHER)",
        (run, "mcs-lock2.csv", "--as", "mcs-lock2=m"): "--as mcs-lock2=m: the run has no m (allowed: ",
        (run, run, "--as", "mcs-lock=mcs-lock2"): "--as mcs-lock=mcs-lock2: nothing is called mcs-lock ",
        (run, "mcs-lock2.csv", "--out", "rows.csv"): "rows.csv: cannot write here: file exists",
        (run,): "cortensim compare: the following arguments are required: RUN_OR_CSV",
    }.items():
        answer = command("compare", *arguments)
        assert (answer.code, answer.out) == (2, ""), arguments
        assert answer.err.startswith(says), answer.err


def test_are_changed_tables_refused_and_compared_when_asked(command: Command, run: Path) -> None:
    points = (run / "points.csv").read_text().splitlines(keepends=True)
    (run / "points.csv").write_text("".join(points[:-1]))
    assert command("compare", run, run / SUITE_FILE).code == 2
    assert command("compare", run, run / SUITE_FILE, "--as-is").code == 0


# -- run --format -------------------------------------------------------------------------------------------


def test_do_shards_become_files_of_the_suite_when_merged(command: Command, run: Path) -> None:
    for part in ("1/2", "2/2"):
        assert command("run", "locks.yaml", "--shard", part, *QUIET).code == 0
    merged = ("results/locks-1-of-2", "results/locks-2-of-2", "--out", "whole", "--no-plots")
    answer = command("merge", *merged, "--format", "will-it-scale")
    assert answer.code == 0
    assert "will-it-scale: whole/will-it-scale/xeon-6252x2/lock/mcs-lock2.csv and 1 more" in answer.out
    assert (Path("whole") / SUITE_FILE).read_bytes() == (run / SUITE_FILE).read_bytes()


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        (("--set", "workloads=[pf]", "--set", "machine=epyc-9965-guest", "--designs", "linux-6.13"),
         "--format will-it-scale: will-it-scale's format has no place for this placement of pf (got 'low'"),
        (("--shard", "1/2"), "--format will-it-scale: is for a whole run (allowed: `cortensim merge`"),
    ],
)  # fmt: skip
def test_is_what_has_no_place_in_the_format_refused_before_it_runs(
    command: Command, folder: Path, changes: tuple[str, ...], says: str
) -> None:
    (folder / "locks.yaml").write_text(EXPERIMENT)
    answer = command("run", "locks.yaml", "--format", "will-it-scale", *changes, *QUIET)
    assert answer.code == 2
    assert answer.err.startswith(says)
    assert not (folder / "results").exists()
