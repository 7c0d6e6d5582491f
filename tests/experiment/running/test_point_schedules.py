"""Is the schedule a part of what an experiment says: in a point's identity, in a file, and the same again?"""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from fakes import faults_of

from sim.experiment import Experiment, load, replaying, run, run_point
from sim.experiment.results import describe_run

SCHEDULES = {
    "shuffle": "shuffle",
    "priority": {"kind": "priority", "depth": 3, "decisions": 200},
    "delays": {"kind": "fifo", "delays": {"chance": 0.01, "up_to": "2 us"}},
}
SCHEDULED = pytest.mark.parametrize("schedule", SCHEDULES.values(), ids=list(SCHEDULES))


def small(schedule: object = "fifo", **changes: object) -> Experiment:
    """A real point of each design in quickstart, with three threads and two runs."""
    few = {"threads": [3], "workloads": ["mmap-pf"], "placements": ["low"], "workload.pooled_threads": 6}
    return load("quickstart", {**few, "schedule": schedule, **changes})


# -- identity -----------------------------------------------------------------------------------------------


def test_does_a_schedule_other_than_fifo_make_another_point(pair: Experiment) -> None:
    def ids(schedule: object) -> tuple[str, ...]:
        return tuple(point.id for point in load("pair", {"schedule": schedule}).points)

    assert ids("fifo") == ids({"kind": "fifo"}) == tuple(point.id for point in pair.points)
    assert ids("priority:3:200") == ids(SCHEDULES["priority"])
    others = ["fifo", "shuffle", "priority", "priority:3", "priority:4", SCHEDULES["delays"]]
    assert len({ids(schedule) for schedule in others}) == len(others)


def test_is_the_schedule_in_the_manifest(pair: Experiment) -> None:
    assert describe_run(load("pair", {"schedule": "priority:2"}))["experiment"]["schedule"]["depth"] == 2


@pytest.mark.usefixtures("house")
@pytest.mark.parametrize(
    ("written", "message"),
    [
        (
            "shufle",
            "pair.yaml:7:11: schedule: must be fifo, shuffle, priority[:DEPTH[:DECISIONS]] or a mapping",
        ),
        ("priority:0", "pair.yaml:7:11: schedule: must be fifo"),
        ("fifo:3", "pair.yaml:7:11: schedule: must be fifo"),
        (
            "{kind: prio}",
            "pair.yaml:7:18: schedule.kind: unknown value (got 'prio'; allowed: fifo, shuffle, p",
        ),
        ("{depth: 3}", "schedule.kind: required key is missing"),
        (
            "{kind: shuffle, depth: 3}",
            "schedule.depth: only priority has a depth (got 3; allowed: leave it out)",
        ),
        ("{kind: priority, depth: 0}", "schedule.depth: too small (got 0; allowed: at least 1)"),
        ("{kind: fifo, delays: {chance: 0, up_to: 1 ns}}", "schedule.delays.chance: too small (got 0"),
        ("{kind: fifo, delays: {chance: 1, up_to: 0 ns}}", "schedule.delays.up_to: too small (got '0 ns'"),
        ("{kind: fifo, delays: {chance: 1}}", "schedule.delays.up_to: required key is missing"),
        ("{kind: fifo, delay: {chance: 1}}", "schedule.delay: unknown key"),
        ("7", "pair.yaml:7:11: schedule: must be a mapping (got 7)"),
    ],
)
def test_is_a_schedule_that_is_none_refused_at_its_place(written: str, message: str) -> None:
    file = Path("configs/experiments/pair.yaml")
    file.write_text(f"{file.read_text()}schedule: {written}\n")
    faults = faults_of(load, "pair")
    assert message in faults[0]
    assert len(faults) == 1


# -- real points --------------------------------------------------------------------------------------------


@SCHEDULED
def test_do_the_accounts_hold_and_is_the_replay_of_every_design_the_same(
    schedule: object, tmp_path: Path
) -> None:
    """A run balances its accounts and checks its end state, so a row that is `ok` says that both hold."""
    experiment = small(schedule)
    plain = small()
    changed = False
    for point, undisturbed in zip(experiment.points, plain.points, strict=True):
        folder = tmp_path / point.design
        recorded = run_point(point, folder)
        assert (recorded.row.status, recorded.row.error) == ("ok", "")
        assert recorded == run_point(point)  # to record changes nothing
        changed |= recorded.row != run_point(undisturbed).row
        assert ("injected delay" in recorded.breakdown) == (schedule == SCHEDULES["delays"])
        (file,) = folder.iterdir()
        (again,) = replaying(plain, file).points
        replayed = run_point(again)
        assert (replayed.row, replayed.breakdown) == (recorded.row, recorded.breakdown)
        assert len({point.id, undisturbed.id, again.id}) == 3
    assert changed


def test_is_the_file_of_a_fifo_run_empty(tmp_path: Path) -> None:
    run_point(small().points[0], tmp_path)
    (file,) = tmp_path.iterdir()
    assert [(run["choices"], run["delays"]) for run in json.loads(file.read_text())["runs"]] == [([], [])] * 2


def test_are_the_decisions_of_a_failed_point_kept_and_its_failure_repeated(tmp_path: Path) -> None:
    experiment = small("shuffle", **{"budget.events": 3000})
    outcome = run_point(experiment.points[0], tmp_path)
    assert outcome.row.error.startswith("BudgetExceeded: more than 3000 events")
    (file,) = tmp_path.iterdir()
    (again,) = replaying(small(**{"budget.events": 3000}), file).points
    assert run_point(again).row == outcome.row


@pytest.mark.ci
def test_does_a_whole_run_record_and_replay(tmp_path: Path) -> None:
    experiment = small("shuffle")
    frame = run(experiment, workers=2, task=partial(run_point, record=tmp_path))
    files = sorted(tmp_path.iterdir())
    assert len(files) == len(frame) == 3
    replay = replaying(small(), files[0])
    again = run(replay, out=tmp_path / "out")
    rows = frame.astype(object).where(frame.notna(), None).to_dict("records")
    (row,) = again.astype(object).where(again.notna(), None).to_dict("records")
    assert row in rows
    manifest = json.loads((tmp_path / "out/manifest.json").read_text())
    assert manifest["replayed"] == replay.points[0].schedule.identity


# -- files that do not fit ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("schedules")
    run_point(small("shuffle").points[0], folder)
    (file,) = folder.iterdir()
    return file.read_text()


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("format", "other", "f.json: format: Input should be 'cortensim-schedule' (got 'other')"),
        ("version", 2, "f.json: version: Input should be 1 (got 2)"),
        ("extra", 1, "f.json: extra: Extra inputs are not permitted"),
        ("runs", [], "f.json: runs: Tuple should have at least 1 item"),
        ("runs.0.choices.0", [5, 2], "f.json: runs.0.choices.0.2: Field required"),
        (
            "runs.0.choices.0",
            [0, 2, 1],
            "f.json: runs.0.choices.0.0: Input should be greater than or equal to 1",
        ),
        ("runs.0.choices.0", [1, 2, 2], "f.json: runs.0: event 1 cannot be number 2 of 2, counted from 0"),
        (
            "runs.0.choices.0",
            [1, "2", 1],
            "f.json: runs.0.choices.0.1: Input should be a valid integer (got '2')",
        ),
        ("runs.0.choices.0", [10**9, 2, 1], "f.json: runs.0: the events of choices must rise"),
        ("runs.0.delays", [[3, 0]], "f.json: runs.0.delays.0.1: Input should be greater than or equal to 1"),
        ("point.threads", 4, "f.json: point.threads: quickstart has no such point (got 4; allowed: 3)"),
        ("point.seed", 5, "f.json: point.seed: quickstart has no such point (got 5; allowed: "),
        (
            "point.content",
            "ab",
            "f.json: recorded from files that said something else: its machine, design or ",
        ),
    ],
)
def test_is_a_faulty_file_refused(
    stored: str, path: str, value: object, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tree = json.loads(stored)
    *outer, last = [int(part) if part.isdigit() else part for part in path.split(".")]
    inner: Any = tree
    for part in outer:
        inner = inner[part]
    inner[last] = value
    monkeypatch.chdir(tmp_path)
    Path("f.json").write_text(json.dumps(tree))
    (fault,) = faults_of(replaying, small(), Path("f.json"))
    assert fault.startswith(message)


def test_is_what_is_no_schedule_file_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name, content, message in (
        ("text.json", b"hello", "text.json: Invalid JSON"),
        ("bytes.json", b"\xff\xfe", "bytes.json: Invalid JSON"),
        ("list.json", b"[]", "list.json: Input should be an object"),
        ("empty.json", b"", "empty.json: Invalid JSON"),
    ):
        Path(name).write_bytes(content)
        (fault,) = faults_of(replaying, small(), Path(name))
        assert fault.startswith(message)
    assert faults_of(replaying, small(), Path("none.json")) == [
        "none.json: cannot read the file: no such file or directory"
    ]
    assert faults_of(replaying, small(), Path("..")) == ["..: this is a directory, not a file"]


def test_is_a_schedule_that_the_run_does_not_follow_a_failed_row(stored: str, tmp_path: Path) -> None:
    """As when the model has changed since: never other results without a word."""
    file = tmp_path / "f.json"
    for change, message in (
        (("choices", [*json.loads(stored)["runs"][1]["choices"][:-1], [10**6, 2, 1]]), "at event 1000000"),
        (("choices", []), "it ended after"),
        (("time_ps", 1), "it ended after 1 ps"),
    ):
        tree = json.loads(stored)
        tree["runs"][1][change[0]] = change[1]
        file.write_text(json.dumps(tree))
        (point,) = replaying(small(), file).points
        error = run_point(point).row.error
        assert error.startswith("ReplayError: the schedule does not fit run 1: ")
        assert message in error
