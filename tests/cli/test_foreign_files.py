"""Damaged and foreign files of every kind to every command: always an answer, soon, and never a traceback?

An answer is exit code 0, 1 or 2. Most cases run in this process; a sample goes through the real command. Only
where tables are damaged figures are laid out, and none is painted: that is what takes the time.
"""

from __future__ import annotations

import itertools
import json
import os
import shutil
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

import pytest
from answers import Command
from foreign import MONSTERS, OTHER_PROGRAMS, QUESTIONS, REST, SPECIAL, damages

from sim.analysis import figures
from sim.analysis.published import COLUMNS
from sim.analysis.tables import read_run
from sim.cli import main, runs

SECONDS_A_CASE = 30
"""What hangs does so for ever: ten seconds on a machine of its own, and room for a busy one."""
SECONDS_TO_START = 60
"""Of a new process that imports what draws, on a busy machine."""
DAMAGES = 14
"""Variants of each good file beside the foreign ones."""

YAML = {
    "machine.yaml": (
        "name: machine\ninherits: desktop-8\ntopology: {sockets: 1}\ncoherence: {same_cluster: 30 ns}\n"
    ),
    "design.yaml": (
        "name: design\ninherits: linux-6.13\ncosts: {vma_free: {value: 100 ns, quality: estimated}}\n"
    ),
    "workload.yaml": (
        "name: workload\ntitle: map, use, unmap\nrequests: 2\nmeasured: {first: 0, last: 1}\n"
        "stack: {size: 8 MiB, touched: 4 pages}\n"
        "layout: {request: 8 KiB, stride: 2 MiB, order: own}\n"
        "thread:\n  - mmap: {at: anywhere}\n  - touch: {at: mapped}\n  - munmap: {at: mapped}\n"
        "placements: {low: {}}\n"
    ),
    "bench.yaml": ("name: bench\ninherits: atomic-add\nwindow: {warm_up: 1 us, length: 20 us, skew: 1 us}\n"),
    "experiment.yaml": (
        "name: experiment\nmachine: machine\ndesigns: [design]\n"
        "workloads: [workload, bench]\nthreads: [1, 2]\n"
        "budget: {events: 20000, simulated_time: 1 ms, wall: 3 s, memory: 1 GiB}\n"
    ),
}
MEASURED = [
    "mine",
    "machine",
    "no-such-kernel",
    "workload",
    "low",
    "1",
    "throughput",
    "1.5",
    "ops/us",
    "exact",
]
ROW = ",".join([*MEASURED, "0.2", "check", "a bench of our own"])
TABLES = ("points.csv", "points.parquet", "breakdown.csv")
Commands = Callable[[str], list[list[str]]]
Choose = Callable[[list[list[str]]], list[list[str]]]


def about_yaml(file: str) -> list[list[str]]:
    """What a user may do with a YAML file; whatever its kind, `experiment.yaml` leads to it."""
    return [
        ["check", file],
        ["show", f"./{file}"],
        ["run", "experiment.yaml", "--workers", "1", "--no-plots", "--out", "new"],
    ]


def about_measurements(file: str) -> list[list[str]]:
    return [
        ["validate", "--data", file, "--workers", "1"],
        ["fit", "desktop-8", "--try", "machine.tlb.entries=[64]", "--data", file, "--workers", "1"],
    ]


def about_misses(file: str) -> list[list[str]]:
    return [["validate", "--data", "data.csv", "--report", "page.md", "--workers", "1"]]


def about_a_run(file: str) -> list[list[str]]:
    run = ["run", "experiment.yaml", "--workers", "1", "--no-plots", "--out", "run"]
    return [["plot", "run"], ["plot", "run", "--as-is"], [*run, "--resume"], run, ["check", file]]


def about_a_shard(file: str) -> list[list[str]]:
    return [
        ["merge", "part1", "part2", "--out", "whole", "--no-plots"],
        ["plot", "part1"],
        [
            "run",
            "experiment.yaml",
            "--workers",
            "1",
            "--no-plots",
            "--shard",
            "1/2",
            "--out",
            "part1",
            "--resume",
        ],
    ]


KINDS: dict[str, Commands] = {
    **dict.fromkeys(YAML, about_yaml),
    "data.csv": about_measurements,
    "misses.yaml": about_misses,
    **{f"run/{name}": about_a_run for name in ("manifest.json", "journal.jsonl", *TABLES)},
    **{f"part1/{name}": about_a_shard for name in ("manifest.json", "journal.jsonl")},
}


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a good file of every kind."""
    folder = tmp_path_factory.mktemp("study")
    for name, text in YAML.items():
        (folder / name).write_text(text)
    (folder / "data.csv").write_text(",".join(COLUMNS) + "\n" + ROW + "\n")
    (folder / "misses.yaml").write_text("mine/no-such-kernel/workload/low/1/throughput: not measured here\n")
    run = ["run", "experiment.yaml", "--workers", "1", "--no-plots", "--quiet", "--out"]
    before = os.getcwd()
    os.chdir(folder)
    try:
        assert main([*run, "run"]) == 0
        for part in (1, 2):
            assert main([*run, f"part{part}", "--shard", f"{part}/2"]) == 0
    finally:
        os.chdir(before)
    return folder


@pytest.fixture
def here(
    study: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> Path:
    """A copy of the study, which is the current directory."""
    folder = tmp_path / "study"
    shutil.copytree(study, folder)
    monkeypatch.chdir(folder)
    monkeypatch.setattr(figures, "write_figure", lambda figure, folder, name: [folder / f"{name}.png"])
    if request.node.callspec.params.get("kind") not in ("run/points.csv", "run/breakdown.csv"):
        monkeypatch.setattr(runs, "_draw", read_only)
    return folder


def read_only(run: Path, out: Path, as_is: bool = False) -> list[Path]:
    """In place of drawing a run: read it, and make sure that figures could be written."""
    read_run(run, as_is=as_is)
    out.mkdir(parents=True, exist_ok=True)
    return []


@contextmanager
def no_longer_than(seconds: int) -> Iterator[None]:
    """Fail the test, wherever it hangs."""

    def ring(number: int, frame: FrameType | None) -> None:
        pytest.fail(f"no answer after {seconds} s")

    before = signal.signal(signal.SIGALRM, ring)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def contents(kind: str, good: bytes) -> Iterator[tuple[str, bytes]]:
    """Everything that may stand in a file of that kind, with what it is called."""
    yield from ((f"from {name}", data) for name, data in OTHER_PROGRAMS.items())
    yield from MONSTERS.items()
    if kind.endswith(".parquet"):
        yield from ((f"cut at {at}", good[:at]) for at in range(0, len(good), len(good) // DAMAGES))
        yield from ((f"bit {at}", good[:at] + b"\xa5" + good[at + 1 :]) for at in range(3, len(good), 200))
    else:
        yield from damages(good, kind, DAMAGES)


def remove(path: Path) -> None:
    """Make sure that there is nothing at *path*."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def restore(study: Path, here: Path) -> None:
    """Bring back what a command may have changed."""
    for name in ("run", "part1", "new", "whole", "page.md"):
        remove(here / name)
    for name in ("run", "part1"):
        shutil.copytree(study / name, here / name)


def answer(command: Command, arguments: list[str], case: str) -> int:
    """The exit code of one command about one case, after what every answer must be."""
    with no_longer_than(SECONDS_A_CASE):
        try:
            said = command(*arguments)
        except Exception as error:
            pytest.fail(f"{case}: {' '.join(arguments)}: {error!r}")
    assert said.code in (0, 1, 2), f"{case}: {arguments}: {said}"
    assert "Traceback" not in said.err, f"{case}: {arguments}: {said.err}"
    assert said.code == 0 or said.err.strip(), f"{case}: {arguments}: refused without a word"
    return said.code


@pytest.mark.parametrize("kind", KINDS)
def test_is_a_good_file_fine(command: Command, here: Path, kind: str) -> None:
    """Otherwise the damaged ones are refused for another reason than their damage."""
    good = {"run": 0, "check": 0, "show": 0, "validate": 1, "merge": 0, "plot": 0, "fit": 2}
    for arguments in KINDS[kind](kind):
        refused = arguments[0] == "check" and not kind.endswith(".yaml")
        refused |= arguments[0] == "run" and arguments[-1] == "run" and kind.startswith("run/")
        code = answer(command, arguments, "good")
        assert code == (2 if refused else good[arguments[0]]), arguments


@pytest.fixture(
    params=[pytest.param("in turn", marks=pytest.mark.slow), pytest.param("all", marks=pytest.mark.slow)]
)
def chosen(request: pytest.FixtureRequest) -> Choose:
    """Which commands meet a case: one, in turn, or in the slow test all of them."""
    count = itertools.count()

    def choose(commands: list[list[str]]) -> list[list[str]]:
        return commands if request.param == "all" else [commands[next(count) % len(commands)]]

    return choose


@pytest.mark.parametrize("kind", KINDS)
def test_is_any_content_answered(
    command: Command, study: Path, here: Path, kind: str, chosen: Choose
) -> None:
    codes: Counter[int] = Counter()
    for case, data in contents(kind, (study / kind).read_bytes()):
        for arguments in chosen(KINDS[kind](kind)):
            restore(study, here)
            (here / kind).write_bytes(data)
            codes[answer(command, arguments, f"{kind}, {case}")] += 1
    assert codes[2] > 10


@pytest.mark.parametrize("kind", KINDS)
def test_is_anything_that_is_no_file_answered(
    command: Command, study: Path, here: Path, kind: str, chosen: Choose
) -> None:
    path = here / kind
    for case, put in SPECIAL.items():
        for arguments in chosen(KINDS[kind](kind)):
            restore(study, here)
            remove(path)
            put(path)
            answer(command, arguments, f"{kind}, {case}")
            remove(here / f"{kind}-pipe")
    remove(path)


@pytest.mark.parametrize(
    "where",
    [
        pytest.param(where, marks=pytest.mark.slow if where in ("init", "schema", "plot") else pytest.mark.ci)
        for where in ("init", "schema", "plot", "merge", "list", "show")
    ],
)
def test_is_a_path_that_is_no_place_answered(command: Command, here: Path, where: str) -> None:
    """Where a command writes, or looks for a folder, something else stands."""
    arguments = {
        "init": ["init", "there"],
        "schema": ["schema", "there"],
        "plot": ["plot", "run", "--out", "there"],
        "merge": ["merge", "there", "--out", "whole"],
        "list": ["list", "there"],
        "show": ["show", "there"],
    }[where]
    for case, put in {**SPECIAL, "a file": lambda path: path.write_bytes(b"x")}.items():
        put(here / "there")
        answer(command, arguments, case)
        remove(here / "there")
        remove(here / "there-pipe")


@pytest.mark.parametrize("asked", QUESTIONS)
def test_is_a_question_that_people_asked_answered(command: Command, folder: Path, asked: str) -> None:
    for name, text in (REST | QUESTIONS[asked]).items():
        (folder / name).write_text(text)
    commands = [["check", *sorted(REST | QUESTIONS[asked])], ["show", "./loop.yaml"]]
    commands.append(["run", "ask.yaml", "--workers", "1", "--no-plots", "--out", "out"])
    if "data.csv" in QUESTIONS[asked]:
        commands.append(["validate", "--data", "data.csv", "--workers", "1"])
    for arguments in commands:
        answer(command, arguments, asked)


SAMPLE = [
    ("run/points.csv", b"\x89PNG\r\n", ["plot", "run"]),
    ("run/manifest.json", b"[" * 100_000, ["plot", "run"]),
    ("run/journal.jsonl", b"\x1f\x8b\x08", ["run", "experiment.yaml", "--out", "run", "--resume"]),
    ("part1/manifest.json", b"{}", ["merge", "part1", "part2", "--out", "whole"]),
    ("data.csv", b"\xff\n", ["validate", "--data", "data.csv"]),
    ("experiment.yaml", b"\0", ["check", "experiment.yaml"]),
]


@pytest.mark.parametrize(("file", "data", "arguments"), SAMPLE)
def test_is_the_answer_of_the_real_command_one_line_and_code_2(
    here: Path, file: str, data: bytes, arguments: list[str]
) -> None:
    (here / file).write_bytes(data)
    said = subprocess.run(
        [sys.executable, "-m", "sim", *arguments], capture_output=True, text=True, timeout=SECONDS_TO_START
    )
    assert said.returncode == 2, said.stderr
    assert len(said.stderr.splitlines()) == 1, said.stderr
    assert file in said.stderr


def test_is_there_enough_of_everything(study: Path) -> None:
    """At least 300 files, and every command meets some of them."""
    files = sum(len(list(contents(kind, (study / kind).read_bytes()))) + len(SPECIAL) for kind in KINDS)
    files += sum(len(question) for question in QUESTIONS.values())
    assert files >= 300
    said = {arguments[0] for kind, about in KINDS.items() for arguments in about(kind)}
    assert said >= {"run", "merge", "show", "check", "validate", "fit", "plot"}
    assert json.loads((study / "run/manifest.json").read_text())["status"] == "complete"
