"""Same experiment, same bytes: whatever the workers, the hash seed, and however often it was killed."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
TABLES = ("points.csv", "breakdown.csv", "points.parquet")
THREADS = "1,2,4,8,16,32"


def start(out: Path, *options: str, hash_seed: str = "0") -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "sim", "run", "quickstart", "--threads", THREADS, "--no-plots"]
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


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> list[bytes]:
    out = tmp_path_factory.mktemp("reference") / "run"
    finish(start(out, "--workers", "1"))
    return tables(out)


@pytest.mark.parametrize(("workers", "hash_seed"), [("1", "1"), ("2", "0"), ("3", "31337")])
def test_do_workers_and_hash_seed_leave_every_byte_alone(
    reference: list[bytes], tmp_path: Path, workers: str, hash_seed: str
) -> None:
    finish(start(tmp_path / "run", "--workers", workers, hash_seed=hash_seed))
    assert tables(tmp_path / "run") == reference


def test_does_a_run_survive_being_killed_again_and_again(reference: list[bytes], tmp_path: Path) -> None:
    out = tmp_path / "run"
    moments = random.Random(7)
    for _ in range(8):
        process = start(out, "--workers", "2", "--resume")
        time.sleep(moments.uniform(0.2, 2.5))
        process.send_signal(signal.SIGKILL)
        process.communicate()
        assert process.returncode in (0, -signal.SIGKILL)
    finish(start(out, "--workers", "2", "--resume"))
    assert tables(out) == reference


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
