"""Is a finished point ever lost, repeated or overwritten, and is a table ever half written?"""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import fakes
import pandas as pd
import pytest
from fakes import faults_of

from sim.errors import BudgetExceeded
from sim.experiment import COLUMNS, Experiment, Outcome, Point, Tick, load, read_manifest, run
from sim.experiment.results import raised
from sim.experiment.results.journal import LOCK, Journal
from sim.experiment.results.journal import NAME as JOURNAL

Counted = Callable[[Point], Outcome]


class Counter:
    """A task that counts, and can stop the sweep like Ctrl-C does."""

    def __init__(self, stop_after: int | None = None) -> None:
        self.seen: list[str] = []
        self.stop_after = stop_after

    def __call__(self, point: Point) -> Outcome:
        if len(self.seen) == self.stop_after:
            raise KeyboardInterrupt
        self.seen.append(point.id)
        return fakes.measure(point)


def run_and_stop(experiment: Experiment, out: Path, after: int) -> None:
    with pytest.raises(KeyboardInterrupt):
        run(experiment, out=out, task=Counter(after))


def test_what_does_a_run_leave_behind(pair: Experiment, house: Path) -> None:
    frame = run(pair, out="out", task=fakes.measure)
    assert sorted(path.name for path in (house / "out").iterdir()) == [
        LOCK,
        "breakdown.csv",
        JOURNAL,
        "manifest.json",
        "points.csv",
        "points.parquet",
    ]
    written = pd.read_csv("out/points.csv", keep_default_na=False)
    assert list(written.columns) == list(COLUMNS) == list(frame.columns)
    assert list(written["throughput_ops_per_us"]) == list(frame["throughput_ops_per_us"])
    assert list(pd.read_parquet("out/points.parquet")["events"]) == [10] * 16
    breakdown = pd.read_csv("out/breakdown.csv")
    assert list(breakdown["activity"][:2]) == ["user", "idle"]
    assert list(frame.attrs["breakdown"].columns) == list(breakdown.columns)


def test_what_does_the_manifest_say(pair: Experiment, house: Path) -> None:
    run(pair, out="out", task=fakes.fail_at_four)
    manifest = json.loads((house / "out/manifest.json").read_text())
    assert manifest["status"] == "complete"
    assert manifest["experiment"]["name"] == "pair"
    assert manifest["seed"] == 7
    assert manifest["points"] == {"total": 16, "failed": 4, "kept_from_before": 0}
    assert manifest["events"] == 120
    assert [file["path"] for file in manifest["files"]][:2] == [
        "configs/experiments/pair.yaml",
        "configs/machines/small.yaml",
    ]
    assert manifest["resolved"]["machines"]["small"]["latency"]["near"] == "40 ns"
    assert len(manifest["failures"]) == 4
    assert {"python", "cortensim", "simpy"} <= set(manifest["versions"])


def test_is_a_failed_point_a_row_with_empty_cells(pair: Experiment, house: Path) -> None:
    run(pair, out="out", task=fakes.fail_at_four)
    line = (house / "out/points.csv").read_text().splitlines()[3]
    assert line.endswith(",0,,,,,,,,,,,,,,,,,,,,,,failed,BudgetExceeded: more than 10 events")


@pytest.mark.parametrize("stop", [0, 1, 7, 15])
def test_does_a_stopped_run_resume_where_it_was(pair: Experiment, house: Path, stop: int) -> None:
    run(pair, out="whole", task=fakes.measure)
    run_and_stop(pair, house / "out", stop)
    assert not (house / "out/points.csv").exists()
    rest = Counter()
    ticks: list[Tick] = []
    run(pair, out="out", resume=True, task=rest, progress=ticks.append)
    assert len(rest.seen) == 16 - stop
    assert (ticks[0].done, ticks[0].kept) == (stop, stop)
    for table in ("points.csv", "breakdown.csv", "points.parquet"):
        assert (house / "out" / table).read_bytes() == (house / "whole" / table).read_bytes()


def test_is_resuming_a_complete_run_harmless(pair: Experiment, house: Path) -> None:
    run(pair, out="out", task=fakes.measure)
    before = (house / "out/points.csv").read_bytes()
    again = Counter()
    run(pair, out="out", resume=True, task=again)
    assert again.seen == []
    assert (house / "out/points.csv").read_bytes() == before


@pytest.mark.parametrize("damage", [b"", b"0123 {", b"deadbeefdeadbeef {}\n", b"\xff\xfe\n\n"])
def test_does_a_torn_journal_cost_only_the_torn_point(pair: Experiment, house: Path, damage: bytes) -> None:
    run_and_stop(pair, house / "out", 5)
    journal = house / "out" / JOURNAL
    lines = journal.read_bytes().splitlines(keepends=True)
    journal.write_bytes(b"".join(lines[:4]) + lines[4][:-20] + damage)
    rest = Counter()
    run(pair, out="out", resume=True, task=rest)
    assert len(rest.seen) == 12
    again = Counter()
    run(pair, out="out", resume=True, task=again)
    assert again.seen == []


def test_can_a_resumed_run_grow(pair: Experiment, house: Path) -> None:
    run(load("pair", {"threads": [1, 8]}), out="out", task=fakes.measure)
    rest = Counter()
    run(pair, out="out", resume=True, task=rest)
    assert len(rest.seen) == 8


def test_is_a_dead_worker_not_a_finished_point(pair: Experiment, house: Path) -> None:
    from sim.experiment.results import killed

    run(pair, out="out", task=killed)
    rest = Counter()
    run(pair, out="out", resume=True, task=rest)
    assert len(rest.seen) == 16


REFUSALS = {
    "the same run": "out: this folder holds a run of this experiment already (complete, 16 points) "
    "(allowed: --resume to continue it, or another folder with --out)",
    "an unfinished run": "out: this folder holds a run of this experiment already (unfinished, 3 points) "
    "(allowed: --resume to continue it, or another folder with --out)",
    "another run": "out: this folder holds a run of another experiment, 'other' "
    "(allowed: another folder with --out)",
    "foreign files": "out: this folder holds other files: choose an empty or new one (got 'thesis.tex')",
    "a file": "out: cannot write results here: file exists",
    "under a file": "out/below: cannot write results here: not a directory",
    "another process": "out: another run is writing to this folder now",
}


@pytest.mark.parametrize("state", REFUSALS)
def test_which_folders_are_refused_before_anything_runs(pair: Experiment, house: Path, state: str) -> None:
    out = house / "out"
    journal = None
    if state == "the same run":
        run(pair, out=out, task=fakes.measure)
    elif state == "an unfinished run":
        run_and_stop(pair, out, 3)
    elif state == "another run":
        (house / "other.yaml").write_text(
            (house / "configs/experiments/pair.yaml").read_text().replace("pair", "other")
        )
        run(load("other.yaml"), out=out, task=fakes.measure)
    elif state == "foreign files":
        out.mkdir()
        (out / "thesis.tex").touch()
    elif state == "another process":
        out.mkdir()
        journal = Journal(out)
    else:
        out.touch()
        out = out / "below" if state == "under a file" else out
    task = Counter()
    assert faults_of(lambda: run(pair, out=out.relative_to(house), task=task)) == [REFUSALS[state]]
    assert task.seen == []
    if journal is not None:
        journal.close()


def test_does_resuming_refuse_to_lose_points_of_a_changed_experiment(pair: Experiment, house: Path) -> None:
    run_and_stop(pair, house / "out", 3)
    (fault,) = faults_of(lambda: run(load("pair", {"seed": 8}), out="out", resume=True, task=fakes.measure))
    assert "cannot resume: 3 of the 3 points that finished well do not belong to this experiment" in fault


def test_is_an_old_table_kept_if_the_new_one_cannot_be_written(house: Path) -> None:
    from sim.files import write_atomically

    table = house / "t.csv"
    table.write_text("old")

    def fail(path: Path) -> None:
        path.write_text("half")
        raise OSError(28, "no space left on device")

    with pytest.raises(OSError, match="no space"):
        write_atomically(table, fail)
    assert table.read_text() == "old"
    assert [path.name for path in house.glob(".*")] == []


def test_may_a_run_that_failed_altogether_start_over(pair: Experiment, house: Path) -> None:
    run(pair, out="out", task=fail)
    again = Counter()
    frame = run(pair, out="out", task=again)
    assert (len(again.seen), set(frame["status"])) == (16, {"ok"})
    assert len((house / "out" / JOURNAL).read_bytes().splitlines()) == 16


def test_may_a_corrected_experiment_replace_failed_points(pair: Experiment, house: Path) -> None:
    run(pair, out="out", task=fakes.fail_at_four)
    corrected = load("pair", {"threads": [1, 2, 6, 8]})
    rest = Counter()
    frame = run(corrected, out="out", resume=True, task=rest)
    assert len(rest.seen) == 4
    assert set(frame["status"]) == {"ok"}
    assert 4 not in set(frame["threads"])


def test_is_a_failed_point_tried_again_only_when_asked(pair: Experiment, house: Path) -> None:
    run(pair, out="out", task=fakes.fail_at_four)
    left = Counter()
    assert set(run(pair, out="out", resume=True, task=left)["status"]) == {"ok", "failed"}
    assert left.seen == []
    retried = Counter()
    assert set(run(pair, out="out", retry_failed=True, task=retried)["status"]) == {"ok"}
    assert len(retried.seen) == 4
    assert set(run(pair, out="out", resume=True, task=left)["status"]) == {"ok"}
    assert left.seen == []


def fail(point: Point) -> Outcome:
    return raised(point, BudgetExceeded("enough"))


def changed(path: Path, change: Callable[[str], str]) -> None:
    before = path.read_text()
    path.write_text(change(before))
    assert path.read_text() != before


def test_is_a_damaged_line_of_the_journal_said_and_its_point_run_again(
    pair: Experiment, house: Path, caplog: pytest.LogCaptureFixture
) -> None:
    run(pair, out="out", task=fakes.measure)
    journal = house / "out" / JOURNAL
    lines = journal.read_text().splitlines(keepends=True)
    journal.write_text("".join([*lines[:4], lines[4].replace("ok", "no"), *lines[5:]]))
    rest = Counter()
    run(pair, out="out", resume=True, task=rest)
    assert len(rest.seen) == 1
    assert caplog.messages == [
        "out/journal.jsonl: damaged at line 5: a point that is lost there is run again"
    ]


@pytest.mark.parametrize("resume", [False, True])
def test_is_another_program_s_journal_left_alone(pair: Experiment, house: Path, resume: bool) -> None:
    (house / "out").mkdir()
    journal = house / "out" / JOURNAL
    journal.write_bytes(b'{"level": "info"}\n{"level": "warning"}\n')
    (fault,) = faults_of(lambda: run(pair, out="out", resume=resume, task=fakes.measure))
    assert fault.startswith("out/journal.jsonl: no line of this file is a finished point of a run")
    assert journal.read_bytes() == b'{"level": "info"}\n{"level": "warning"}\n'


def test_is_a_record_of_another_version_named_by_its_line_and_key(pair: Experiment, house: Path) -> None:
    run_and_stop(pair, house / "out", 2)
    journal = house / "out" / JOURNAL
    first, second = journal.read_text().splitlines()
    body = second.partition(" ")[2].replace('"row":{', '"row":{"era":3,')
    journal.write_text(f"{first}\n{hashlib.sha256(body.encode()).hexdigest()[:16]} {body}\n")
    (fault,) = faults_of(lambda: run(pair, out="out", resume=True, task=fakes.measure))
    assert fault.startswith("out/journal.jsonl:2: row.era: a record of another version of cortensim")


MANIFESTS = {
    "newer": (
        lambda text: text.replace('"format_version": 2', '"format_version": 3'),
        "out/manifest.json: format_version: written by a newer version of cortensim, which this one cannot "
        "read (got 3; allowed: up to 2; install that version, or use another folder)",
    ),
    "another program's": (
        lambda text: '{"name": "web"}',
        "out/manifest.json: not the manifest of a run of this program "
        "(allowed: another folder, or move this file away)",
    ),
    "cut": (lambda text: text[:300], "out/manifest.json:"),
    "of no status": (
        lambda text: text.replace('"complete"', '"done"'),
        "out/manifest.json: status: damaged: ",
    ),
    "brackets": (lambda text: "[" * 100_000, "out/manifest.json: not the JSON of a manifest"),
}


@pytest.mark.parametrize("state", MANIFESTS)
def test_what_is_said_of_a_manifest_that_cannot_be_read(pair: Experiment, house: Path, state: str) -> None:
    run(pair, out="out", task=fakes.measure)
    change, words = MANIFESTS[state]
    changed(house / "out/manifest.json", change)
    (fault,) = faults_of(read_manifest, house / "out")
    assert fault.startswith(words)
    damaged = state in ("cut", "of no status", "brackets")
    if damaged:  # the journal knows whose run it is, and the manifest is written again
        assert "--resume" in fault
        run(pair, out="out", resume=True, task=Counter(0))
        assert read_manifest(house / "out") is not None
    else:
        assert faults_of(lambda: run(pair, out="out", resume=True, task=fakes.measure)) == [fault]


def test_is_the_first_version_of_a_manifest_still_read(pair: Experiment, house: Path) -> None:
    run(pair, out="out", task=fakes.measure)
    path = house / "out/manifest.json"
    old = json.loads(path.read_text())
    digests = {name: table["sha256"] for name, table in old["tables"].items()}
    path.write_text(json.dumps(old | {"format_version": 1, "tables": digests}))
    manifest = read_manifest(house / "out")
    assert manifest is not None
    assert manifest.tables["points.csv"].sha256 == digests["points.csv"]


def test_is_a_run_without_its_journal_not_run_over(pair: Experiment, house: Path) -> None:
    run(pair, out="out", task=fakes.measure)
    (house / "out" / JOURNAL).unlink()
    words = (
        "out: this folder holds a manifest.json but no journal.jsonl, without which no run goes on "
        "(allowed: another folder with --out)"
    )
    for resume in (False, True):
        assert faults_of(lambda r=resume: run(pair, out="out", resume=r, task=fakes.measure)) == [words]
    (house / "out" / JOURNAL).touch()
    assert "holds a run of this experiment already" in faults_of(lambda: run(pair, out="out"))[0]


def test_does_the_lock_end_with_a_killed_process(pair: Experiment, house: Path) -> None:
    program = "import sys; from pathlib import Path; from sim.experiment.results.journal import Journal;"
    program += "j = Journal(Path('out')); print('held', flush=True); sys.stdin.read()"
    (house / "out").mkdir()
    holder = subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=house
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == b"held\n"
    assert faults_of(lambda: run(pair, out="out", task=fakes.measure)) == [REFUSALS["another process"]]
    holder.kill()
    holder.communicate()
    assert (house / "out" / LOCK).exists()
    assert len(run(pair, out="out", task=fakes.measure)) == 16
