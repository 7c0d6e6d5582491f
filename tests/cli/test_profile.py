"""What does `run --profile` leave behind, and does it leave the rest alone?"""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from answers import EXPERIMENT, Command

import sim
from sim.engine import Probe
from sim.errors import ModelError
from sim.experiment import KEY, run_point
from sim.profile import (
    COLUMNS,
    COUNTERS,
    CPU_COLUMNS,
    IDLE,
    LATENCY_COLUMNS,
    SHOWN,
    TRANSFER_COLUMNS,
)

FAST = ("--workers", "1", "--no-plots")
TABLES = ("points.csv", "breakdown.csv", "points.parquet")
REPORT = ("cpus.csv", "latencies.csv", "transfers.csv")
MORE = ("counters.csv", "locks.csv", *REPORT)


@pytest.mark.ci
def test_are_the_tables_of_a_run_the_same_with_a_profile(command: Command, folder: Path) -> None:
    assert command("run", "e.yaml", "--out", "plain", *FAST).code == 0
    assert command("run", "e.yaml", "--out", "profiled", "--profile", *FAST).code == 0
    for table in TABLES:
        assert Path("plain", table).read_bytes() == Path("profiled", table).read_bytes()
    assert not any(Path("plain", table).exists() for table in MORE)


def test_what_is_in_the_tables_of_a_profile(command: Command, folder: Path) -> None:
    answer = command("run", "e.yaml", "--profile", *FAST)
    assert answer.code == 0, answer.err
    points = pd.read_csv("results/e/points.csv")
    counters, locks, *report = (pd.read_csv(Path("results/e", table)) for table in MORE)
    assert list(counters.columns) == [*KEY, "counter", "value"]
    assert list(counters["counter"]) == [*COUNTERS, IDLE] * len(points)
    assert counters["value"].min() >= 0
    idle = counters[counters["counter"] == IDLE]["value"]
    assert idle.max() < 1
    online = points["threads"] / 384  # the part of the machine's cpus that the counter is about
    assert list(points["idle_share"]) == pytest.approx(list(1 - online * (1 - idle.to_numpy())))
    assert list(locks.columns) == [*KEY, *COLUMNS]
    assert locks.groupby(list(KEY)).size().max() <= SHOWN + 1
    linux = locks[(locks["design"] == "linux-6.13") & (locks["threads"] == 2)]
    assert {"lock: page table", "lock: zone"} <= set(linux["activity"])
    assert (locks["contended"] <= locks["acquisitions"]).all()
    assert (locks["wait_max_ns"] <= locks["wait_ns"]).all()
    assert (locks["hold_max_ns"] <= locks["hold_ns"]).all()
    tables = json.loads(Path("results/e/manifest.json").read_text())["tables"]
    assert set(tables) == {*TABLES, *MORE}
    assert [tables[table]["rows"] for table in MORE] == [len(counters), len(locks), *map(len, report)]
    check_spread(points, *report)


def check_spread(
    points: pd.DataFrame, cpus: pd.DataFrame, latencies: pd.DataFrame, transfers: pd.DataFrame
) -> None:
    """The cpus' operations are the point's, their shares all of their time, the percentiles the point's."""
    key = list(KEY)
    assert list(cpus.columns) == [*KEY, *CPU_COLUMNS]
    assert list(latencies.columns) == [*KEY, *LATENCY_COLUMNS]
    assert list(transfers.columns) == [*KEY, *TRANSFER_COLUMNS]
    done = cpus.groupby(key)["operations"].sum().reset_index().merge(points, on=key)
    assert (done["operations_x"] == done["operations_y"]).all()
    shares = [name for name in CPU_COLUMNS if name.endswith("_share") and name != "idle_share"]
    assert cpus[shares].sum(axis=1).to_numpy() == pytest.approx(1)
    idle = cpus.groupby(key)["idle_share"].sum().reset_index().merge(points, on=key)
    left = 384 - idle["threads"]  # cpus that are not online are idle
    assert list((idle["idle_share_x"] + left) / 384) == pytest.approx(list(idle["idle_share_y"]))
    for percentile in (50, 95, 99):
        every = latencies[(latencies["of"] == "all") & (latencies["percentile"] >= percentile)]
        least = every.groupby(key)["latency_ns"].min().reset_index().merge(points, on=key)
        assert list(least["latency_ns"]) == list(least[f"latency_p{percentile}_ns"])


def test_is_a_profile_printed_with_what_an_operation_takes(command: Command, folder: Path) -> None:
    answer = command("run", "e.yaml", "--profile", *FAST)
    title = answer.out.index("per operation at 2 threads")
    lines = answer.out[title:].splitlines()
    assert lines[1].split()[:6] == ["design", "switches", "IPIs", "flushes", "transfers", "idle"]
    assert [line.split()[0] for line in lines[2:4]] == ["linux-6.13", "cortenmm-adv"]


def test_does_json_name_the_tables_of_a_profile(command: Command, folder: Path) -> None:
    summary = json.loads(command("run", "e.yaml", "--profile", "--json", *FAST).out)
    assert [Path(table).name for table in summary["tables"]][-5:] == list(MORE)
    assert all(Path(table).exists() for table in summary["tables"])


@pytest.mark.ci
def test_do_shards_of_a_profiled_run_merge_into_the_same_bytes(command: Command, folder: Path) -> None:
    assert command("run", "e.yaml", "--profile", *FAST).code == 0
    for part in ("1/2", "2/2"):
        assert command("run", "e.yaml", "--profile", "--shard", part, *FAST).code == 0
    assert command("merge", "results/e-1-of-2", "results/e-2-of-2", "--out", "whole", "--no-plots").code == 0
    for table in (*TABLES, *MORE):
        assert Path("whole", table).read_bytes() == Path("results/e", table).read_bytes()


def test_is_a_plain_run_not_continued_with_a_profile(command: Command, folder: Path) -> None:
    assert command("run", "e.yaml", *FAST).code == 0
    answer = command("run", "e.yaml", "--profile", "--resume", *FAST)
    assert answer.code == 2
    assert "do not belong to this experiment as it is now" in answer.err


@pytest.mark.ci
def test_has_a_data_frame_the_tables_beside_it(folder: Path) -> None:
    experiment = sim.load("e.yaml")
    frame = sim.run(experiment, profile=True, out="out")
    for name, table in (("counters", "counters.csv"), ("locks", "locks.csv")):
        written = pd.read_csv(Path("out", table), keep_default_na=False)
        pd.testing.assert_frame_equal(frame.attrs[name], written, check_dtype=False)
    assert "counters" not in sim.run(experiment).attrs


def test_does_a_run_without_locks_have_an_empty_table(folder: Path) -> None:
    (folder / "w.yaml").write_text(
        "{name: w, title: nothing shared, family: bench, lines: {x: {each_thread: 64 B}}, "
        "roles: [{who: all, steps: [{add: x}]}], window: {warm_up: 1 us, length: 10 us}}"
    )
    (folder / "e.yaml").write_text(
        "{name: e, machine: epyc-9965-guest, designs: [hardware], workloads: [w.yaml], threads: [2]}"
    )
    frame = sim.run(sim.load("e.yaml"), profile=True)
    assert list(frame["status"]) == ["ok"]
    assert list(frame.attrs["locks"].columns) == [*KEY, *COLUMNS]
    assert frame.attrs["locks"].empty


class Violated(Probe):
    """An invariant that the second frame breaks."""

    def __init__(self, error: Exception) -> None:
        self._error = error
        self._frames = 0

    def frame_allocated(self, cpu: Any, frame: int, order: int) -> None:
        self._frames += 1
        if self._frames == 2:
            raise self._error


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (ModelError("frame 7 has two owners"), "ModelError: frame 7 has two owners"),
        (KeyError("frame"), "internal error: KeyError: 'frame'"),
    ],
)
def test_does_a_listener_that_raises_end_its_point_and_name_it(
    folder: Path, error: Exception, says: str
) -> None:
    (folder / "e.yaml").write_text(EXPERIMENT.replace("[1, 2]", "[2]"))
    frame = sim.run(sim.load("e.yaml"), task=partial(run_point, listeners=[Violated(error)]))
    failed, fine = frame.iloc[0], frame.iloc[1]
    assert (failed["design"], failed["threads"], failed["status"]) == ("linux-6.13", 2, "failed")
    assert failed["error"] == says
    assert (fine["design"], fine["status"]) == ("cortenmm-adv", "ok")
