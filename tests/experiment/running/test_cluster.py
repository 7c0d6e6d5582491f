"""Does a dask cluster give the same bytes, and does it survive the death of a worker?

Scheduler and workers are processes of their own on the loopback address.
"""

from __future__ import annotations

import json
import os
import pickle
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import fakes
import pytest
from fakes import faults_of

from sim.errors import InputError
from sim.experiment import Experiment, Outcome, Point, model
from sim.experiment.running import cluster, finish

pytest.importorskip("distributed")
ROOT = Path(__file__).parents[3]
TESTS = ROOT / "tests"
TABLES = ("points.csv", "breakdown.csv", "points.parquet")
SIM = [sys.executable, "-m", "sim"]


class Cluster:
    """A scheduler and workers with one thread each."""

    def __init__(self, folder: Path, stack: ExitStack, workers: int = 2) -> None:
        self._folder = folder
        self._stack = stack
        addressed = folder / "scheduler.json"
        self.scheduler = self._start(
            "scheduler", "--host", "127.0.0.1", "--port", "0", "--no-dashboard",
            "--scheduler-file", str(addressed),
        )  # fmt: skip
        self._addressed = addressed
        while not addressed.exists():
            time.sleep(0.05)
        self.address: str = json.loads(addressed.read_text())["address"]
        self.workers = [self.add_worker() for _ in range(workers)]

    def add_worker(self) -> subprocess.Popen[bytes]:
        return self._start(
            "worker", self.address, "--nthreads", "1", "--no-nanny", "--no-dashboard",
            "--local-directory", str(self._folder),
        )  # fmt: skip

    def _start(self, *arguments: str) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(
            [sys.executable, "-m", "distributed.cli.dask_" + arguments[0], *arguments[1:]],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(map(str, (ROOT, TESTS, Path(__file__).parent)))},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        self._stack.callback(process.wait)
        self._stack.callback(process.kill)
        return process


@pytest.fixture(scope="module")
def dask(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with ExitStack() as stack:
        yield Cluster(tmp_path_factory.mktemp("dask"), stack)


def run(out: Path, *options: str) -> subprocess.Popen[bytes]:
    command = [*SIM, "run", "quickstart", "--threads", "1,2,4,8,16,32", "--no-plots", "--out", str(out)]
    return subprocess.Popen([*command, *options], cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)


def finished(process: subprocess.Popen[bytes]) -> None:
    _, err = process.communicate(timeout=300)
    assert process.returncode == 0, err.decode()


@pytest.mark.slow
@pytest.mark.parametrize("kill", [False, True])
def test_does_a_cluster_give_the_same_bytes_even_if_a_worker_is_killed(
    dask: Cluster, tmp_path: Path, kill: bool
) -> None:
    finished(run(tmp_path / "local", "--workers", "2"))
    out = tmp_path / "cluster"
    process = run(out, "--executor", "dask", "--scheduler", dask.address)
    if kill:
        wait_for_points(out, process, 5)
        dask.workers[0].send_signal(signal.SIGKILL)
    finished(process)
    lines = (out / "journal.jsonl").read_bytes().splitlines()
    assert len(lines) == len(set(lines)) == 54
    for table in TABLES:
        assert (out / table).read_bytes() == (tmp_path / "local" / table).read_bytes()


@pytest.mark.slow
def test_is_a_point_that_kills_every_worker_given_up(
    dask: Cluster, pair: Experiment, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cluster, "_on_worker", only_run)
    for _ in range(5):
        dask.add_worker()
    points = [point for point in pair.points if point.threads >= 4][:2]
    outcomes = finish(points, task=fakes.die_at_four, scheduler=dask.address)
    assert [outcome.row.status for outcome in outcomes] == ["failed", "ok"]


def only_run(packed: bytes, task: object, version: str, family: str) -> Outcome:
    """The fixtures' fake model exists in this process only."""
    return task(pickle.loads(packed))  # type: ignore[operator, no-any-return]


def test_is_a_scheduler_that_does_not_answer_one_message(
    pair: Experiment, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cluster, "_SECONDS_TO_CONNECT", 1)
    (fault,) = faults_of(lambda: finish(pair.points, scheduler="tcp://127.0.0.1:9"))
    assert fault.startswith("cannot reach the scheduler: ")
    assert "allowed: an address such as tcp://HOST:8786" in fault


def test_does_a_worker_refuse_another_version_of_the_model(pair: Experiment) -> None:
    with pytest.raises(InputError, match="another version of the model"):
        cluster._on_worker(pickle.dumps(pair.points[0]), fakes.measure, model.model_version() + "x", ())


def wait_for_points(out: Path, process: subprocess.Popen[bytes], points: int) -> None:
    journal = out / "journal.jsonl"
    while process.poll() is None and (not journal.exists() or journal.read_bytes().count(b"\n") < points):
        time.sleep(0.02)


def test_is_a_cluster_without_workers_one_message(pair: Experiment, tmp_path: Path) -> None:
    with ExitStack() as stack:
        dask = Cluster(tmp_path, stack, workers=0)
        with pytest.raises(cluster.ClusterLost) as caught:
            finish(pair.points, scheduler=dask.address, patience=0.5)
    assert str(caught.value) == (
        f"the scheduler at {dask.address} has had no worker for 0.5 s; 0 of 16 points are finished"
    )


@pytest.mark.slow
@pytest.mark.parametrize("victim", ["scheduler", "workers"])
def test_does_a_sweep_that_loses_its_cluster_say_what_is_kept_and_go_on(tmp_path: Path, victim: str) -> None:
    out = tmp_path / "out"
    with ExitStack() as stack:
        dask = Cluster(tmp_path, stack)
        process = run(out, "--quiet", "--executor", "dask", "--scheduler", dask.address, "--patience", "3")
        wait_for_points(out, process, 3)
        for doomed in [dask.scheduler] if victim == "scheduler" else dask.workers:
            doomed.kill()
        _, err = process.communicate(timeout=120)
    assert process.returncode == 1
    kept = len((out / "journal.jsonl").read_bytes().splitlines())
    last = err.decode().splitlines()[-1]
    assert last.startswith(f"the scheduler at {dask.address} ")
    assert last.endswith(
        f"; {kept} of 54 points are finished and kept in {out}: mend the cluster and continue with --resume"
    )
    assert "Traceback" not in err.decode()
    finished(run(out, "--quiet", "--resume"))


@pytest.mark.ci
def test_is_a_worker_that_cannot_run_points_the_cluster_s_fault_and_not_the_point_s(
    pair: Experiment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cluster, "_on_worker", only_run)
    with ExitStack() as stack:
        dask = Cluster(tmp_path, stack, workers=1)
        (fault,) = faults_of(lambda: finish(pair.points[:2], task=lost, scheduler=dask.address))
    assert fault.startswith("a worker of the cluster cannot run points: ModuleNotFoundError: No module named")


def lost(point: Point) -> Outcome:
    raise ModuleNotFoundError("No module named 'sim'")


@pytest.mark.slow
def test_is_a_cluster_of_another_version_refused(
    dask: Cluster, pair: Experiment, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(model, "model_version", lambda: "another")
    (fault,) = faults_of(lambda: finish(pair.points, task=fakes.measure, scheduler=dask.address))
    assert fault.startswith("the workers of the cluster run another version of the model")
