"""Do shards, run apart and merged, make the same run?"""

from __future__ import annotations

from pathlib import Path

import pytest
from fakes import faults_of, measure

from sim.experiment import Experiment, Shard, load, merge, parse_shard, run

TABLES = ("points.csv", "breakdown.csv", "points.parquet")


def run_shards(experiment: Experiment, count: int) -> list[Path]:
    folders = [Path(f"part{index}") for index in range(1, count + 1)]
    for index, folder in enumerate(folders, 1):
        run(experiment, out=folder, shard=Shard(index, count), task=measure)
    return folders


@pytest.mark.parametrize("count", [1, 2, 3, 7])
def test_is_every_point_in_one_shard(pair: Experiment, count: int) -> None:
    shards = [Shard(index, count).of(pair.points) for index in range(1, count + 1)]
    assert sorted(p.id for shard in shards for p in shard) == sorted(p.id for p in pair.points)
    work = [sum(point.threads for point in shard) for shard in shards]
    assert max(work) - min(work) <= 8


@pytest.mark.parametrize("count", [1, 3])
def test_are_merged_shards_the_whole_run(house: Path, count: int) -> None:
    experiment = load("pair", {"sweep": {"design.syscall": ["1 ns", "2 ns"]}})
    run(experiment, out="whole", task=measure)
    merge(run_shards(experiment, count)[::-1], house / "merged")
    for table in TABLES:
        assert (house / "merged" / table).read_bytes() == (house / "whole" / table).read_bytes()
    ran: list[object] = []
    run(experiment, out="merged", resume=True, task=lambda point: ran.append(point) or measure(point))
    assert ran == []


def test_is_a_missing_shard_missed(pair: Experiment, house: Path) -> None:
    first, _, third = run_shards(pair, 3)
    assert faults_of(merge, [first, third], house / "merged") == [
        "5 of 16 points are missing: a shard is not here or not finished (got '1/3, 3/3')"
    ]
    assert not (house / "merged").exists()


def test_are_shards_of_different_runs_kept_apart(pair: Experiment, house: Path) -> None:
    first, _ = run_shards(pair, 2)
    run(load("pair", {"seed": 8}), out="other", shard=Shard(2, 2), task=measure)
    assert faults_of(merge, [first, Path("other")], house / "merged") == [
        "other: a shard of another run than part1: its experiment is different",
        "other: a shard of another run than part1: its seed is different",
    ]


def test_is_what_is_no_shard_refused(pair: Experiment, house: Path) -> None:
    run(pair, out="whole", task=measure)
    assert faults_of(merge, [Path("whole")], Path("merged")) == [
        "whole: this run is no shard: make one with run --shard"
    ]
    assert faults_of(merge, [Path("gone")], Path("merged")) == ["gone: no such run directory"]


@pytest.mark.parametrize("text", ["", "1", "0/2", "3/2", "1/0", "-1/2", "a/b", "1/2/3"])
def test_what_is_no_shard(text: str) -> None:
    with pytest.raises(ValueError, match="not a shard"):
        parse_shard(text)
