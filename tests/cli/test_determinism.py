"""Same experiment, same bytes: whatever the workers, the hash seed, and however often it was killed."""

from __future__ import annotations

import os
import random
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

slow = pytest.mark.slow

ROOT = Path(__file__).parents[2]
TABLES = ("points.csv", "breakdown.csv", "points.parquet")
THREADS = "1,2,4,8,16,32"


def start(out: Path, *options: str, hash_seed: str = "0", threads: str = THREADS) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "sim", "run", "quickstart", "--threads", threads, "--no-plots"]
    return subprocess.Popen(
        [*command, "--out", str(out), *options],
        cwd=ROOT,
        env={**os.environ, "PYTHONHASHSEED": hash_seed},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )


def finish(process: subprocess.Popen[bytes]) -> None:
    _, err = process.communicate()
    assert process.returncode == 0, err.decode()


def tables(out: Path) -> list[bytes]:
    return [(out / table).read_bytes() for table in TABLES]


def journal(out: Path) -> list[str]:
    """The points that were finished, by id: one that ran twice is in it twice."""
    path = out / "journal.jsonl"
    lines = path.read_text().splitlines() if path.exists() else []
    return [found[1] for line in lines if (found := re.search('"point_id":"([0-9a-f]+)"', line))]


def children(pid: int) -> list[int]:
    """The worker processes of a run."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            command = (folder / "cmdline").read_bytes()
        except OSError:
            continue
        if parent == pid and b"spawn_main" in command:
            found.append(int(folder.name))
    return found


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> list[bytes]:
    out = tmp_path_factory.mktemp("reference") / "run"
    finish(start(out, "--workers", "1"))
    return tables(out)


@slow
@pytest.mark.parametrize(("workers", "hash_seed"), [("1", "1"), ("2", "0"), ("4", "31337")])
def test_do_workers_and_hash_seed_leave_every_byte_alone(
    reference: list[bytes], tmp_path: Path, workers: str, hash_seed: str
) -> None:
    finish(start(tmp_path / "run", "--workers", workers, hash_seed=hash_seed))
    assert tables(tmp_path / "run") == reference


@pytest.mark.parametrize(
    ("kills", "threads"),
    [pytest.param(1, "1,2", marks=slow), pytest.param(25, THREADS, marks=slow)],
    ids=["few", "many"],
)
def test_does_a_run_survive_being_killed_again_and_again(tmp_path: Path, kills: int, threads: str) -> None:
    whole, out = tmp_path / "whole", tmp_path / "run"
    finish(start(whole, "--workers", "2", threads=threads))
    moments = random.Random(7)
    for _ in range(kills):
        process = start(out, "--workers", "2", "--resume", threads=threads)
        time.sleep(moments.uniform(0.2, 1.5))
        process.send_signal(signal.SIGKILL)
        process.communicate()
        assert process.returncode in (0, -signal.SIGKILL)
    finish(start(out, "--workers", "2", "--resume", threads=threads))
    assert tables(out) == tables(whole)
    assert len(journal(out)) == len(set(journal(out)))


@slow
@pytest.mark.parametrize("kills", [1, 5])
def test_does_a_run_survive_the_death_of_its_workers(
    reference: list[bytes], tmp_path: Path, kills: int
) -> None:
    """A point whose worker is killed is tried again; if that is killed, too, resuming tries it once more."""
    out = tmp_path / "run"
    process = start(out, "--workers", "2")
    moments = random.Random(11)
    killed = 0
    while process.poll() is None and killed < kills:
        time.sleep(moments.uniform(0.2, 0.8))
        if journal(out) and (workers := children(process.pid)):
            os.kill(moments.choice(workers), signal.SIGKILL)
            killed += 1
    process.communicate()
    assert killed
    assert process.returncode in ((0,) if kills == 1 else (0, 1))
    assert len(journal(out)) >= 54 - kills
    finish(start(out, "--resume"))
    assert tables(out) == reference
    assert len(journal(out)) == len(set(journal(out))) == 54


@slow
def test_is_ctrl_c_a_clean_message_and_nothing_lost(reference: list[bytes], tmp_path: Path) -> None:
    out = tmp_path / "run"
    process = start(out, "--workers", "2")
    while not (out / "journal.jsonl").exists() or not (out / "journal.jsonl").stat().st_size:
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate()
    assert process.returncode == 130
    assert (
        err.decode().splitlines()[-1] == f"stopped; finished points are kept in {out}: continue with --resume"
    )
    assert b"Traceback" not in err
    finish(start(out, "--resume"))
    assert tables(out) == reference
