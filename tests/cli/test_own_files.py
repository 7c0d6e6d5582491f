"""Do a user's own machines, designs and workloads work wherever a preset does?"""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
from answers import EXPERIMENT, Command

BOX = """\
name: box
title: a guest of 4
inherits: epyc-9965-guest
topology: {cores_per_cluster: 1, clusters_per_socket: 2}
"""
LOOP = """\
name: loop
title: map, touch, compute, unmap
requests: 6
measured: {first: 2, last: 5}
stack: {size: 64 KiB, touched: 1 page}
layout: {request: 16 KiB, stride: 128 KiB, order: own}
thread:
  - mmap: {at: anywhere}
  - touch: {at: mapped}
  - compute: 5 us
  - munmap: {at: mapped}
placements: {threads: {}}
"""
CSV = (
    "dataset,machine,system,workload,placement,tasks,metric,value,unit,exactness,tolerance,use,source\n"
    "mine,{machine},{system},{workload},threads,2,throughput,{value},kops/s,exact,0.25,{use},a test\n"
)


def csv(**cells: object) -> str:
    known = {"machine": "box", "system": "linux-6.13", "workload": "loop", "value": 1, "use": "calibrate"}
    return CSV.format(**known | cells)


@pytest.fixture
def study(folder: Path) -> Path:
    """A folder below the current one with a machine and a workload of one's own, and an experiment."""
    study = folder / "study"
    study.mkdir()
    (study / "box.yaml").write_text(BOX)
    (study / "loop.yaml").write_text(LOOP)
    (study / "x.yaml").write_text(
        "name: x\nmachine: box\ndesigns: [linux-6.13, cortenmm-adv]\nworkloads: [loop]\nthreads: [1, 2]\n"
    )
    return study


@pytest.mark.parametrize(
    "cells", [{}, {"machine": "./box.yaml", "workload": "./loop.yaml"}, {"machine": "../study/box.yaml"}]
)
def test_is_a_row_simulated_with_the_files_beside_it(command: Command, study: Path, cells: dict) -> None:
    (study / "my.csv").write_text(csv(**cells))
    answer = command("validate", "--data", "study/my.csv", "--out", "v", "--workers", "1")
    assert answer.code == 1, answer.err  # a miss: the value is made up
    (row,) = pd.read_csv("v/validation.csv").to_dict("records")
    assert row["verdict"] == "miss"
    good = csv(**cells, value=row["simulated"])
    (study / "my.csv").write_text(good)
    assert command("validate", "--data", "study/my.csv", "--workers", "1").code == 0


@pytest.mark.parametrize(
    ("cells", "why"),
    [
        ({"machine": "bxo"}, "no machine named bxo, neither beside the data nor among the presets"),
        ({"workload": "./gone.yaml"}, "./gone.yaml: cannot read the file"),
        ({"system": "linux"}, "no design named linux, neither beside the data nor among the presets"),
    ],
)
def test_is_a_name_that_leads_nowhere_said_and_no_success(
    command: Command, study: Path, cells: dict, why: str
) -> None:
    (study / "my.csv").write_text(csv(**cells))
    answer = command("validate", "--data", "study/my.csv", "--workers", "1")
    assert answer.code == (2 if "gone" in why else 1)
    assert why.removeprefix("./") in " ".join((answer.out + answer.err).split())


def test_is_one_name_with_two_files_refused(command: Command, study: Path) -> None:
    other = study.parent / "other"
    other.mkdir()
    (other / "box.yaml").write_text(BOX)
    (other / "loop.yaml").write_text(LOOP)
    for place in (study, other):
        (place / "my.csv").write_text(csv())
    answer = command("validate", "--data", "study/my.csv", "other/my.csv")
    assert answer.code == 2
    assert "the machine box is study/box.yaml in one place and other/box.yaml in another" in answer.err


@pytest.mark.parametrize("machine", ["box", "./study/box.yaml"])
def test_does_a_fit_take_a_machine_of_ones_own(command: Command, study: Path, machine: str) -> None:
    (study / "my.csv").write_text(csv())
    answer = command(
        "fit", machine, "--data", "study/my.csv", "--try", "topology.numa_nodes=[1]", "--workers", "1"
    )
    assert answer.code == 0, answer.err
    assert "1 rows marked calibrate" in answer.out


def test_says_a_fit_why_no_row_is_covered(command: Command, study: Path) -> None:
    (study / "my.csv").write_text(csv(workload="lop"))
    answer = command("fit", "box", "--data", "study/my.csv", "--try", "machine.topology.numa_nodes=[1]")
    assert answer.code == 2
    assert "no row marked calibrate that the model covers: no workload named lop" in answer.err


@pytest.mark.parametrize("option", [["--machine", "./study/box.yaml"], ["--set", "machine=study/box.yaml"]])
@pytest.mark.parametrize("experiment", ["quickstart", "./study/x.yaml", "./e.yaml"])
def test_does_a_path_count_from_where_the_user_stands(
    command: Command, study: Path, experiment: str, option: list[str]
) -> None:
    answer = command("run", experiment, *option, "--threads", "1", "--dry-run")
    assert answer.code == 0, answer.err
    assert "  machine: box\n" in answer.out
    assert "  study/box.yaml (your own)\n" in answer.out


def test_does_a_dry_run_say_what_would_run_and_write_nothing(command: Command, study: Path) -> None:
    before = sorted(study.parent.rglob("*"))
    answer = command(
        "run", "study/x.yaml", "--designs", "linux-6.13,linux-5.1", "--dry-run", "--set", "replicates=2"
    )
    assert answer.code == 0, answer.err
    lines = answer.out.splitlines()
    assert lines[0] == "experiment x: 8 points"
    assert "  design: linux-6.13, linux-5.1" in lines
    assert "  study/loop.yaml (your own)" in lines
    assert "size: 12 simulated threads in all, 2 in the largest point" in lines
    assert sorted(study.parent.rglob("*")) == before
    assert command("run", "e.yaml", "--dry-run", "--threads", "9999").code == 2


@pytest.mark.parametrize(
    "path", ["workload.thread[2].compute", "thread[2].compute", "workload.thread.2.compute"]
)
def test_is_a_value_set_by_the_path_that_show_prints(command: Command, study: Path, path: str) -> None:
    assert "thread[2].compute" in command("show", "study/loop.yaml").out
    answer = command("run", "study/x.yaml", "--set", f"{path}=5", "--dry-run")
    assert answer.code == 2
    assert answer.err.startswith(f"--set {path}=5: thread[2].compute: not a cost")
    assert command("run", "study/x.yaml", "--set", f"{path}=7 us", "--dry-run").code == 0


@pytest.mark.parametrize(
    ("setting", "says"),
    [
        (
            "memory=interleave",
            "a key of more than one kind of file (allowed: machine.memory or workload.memory)",
        ),
        ("thread[9].compute=1 us", "no such place in study/loop.yaml"),
        ("thread[x]=1", "must be a path and a value"),
        ("limits.pcp_batch=0", "limits.pcp_batch: too small"),
    ],
)
def test_is_a_path_that_leads_nowhere_one_message(
    command: Command, study: Path, setting: str, says: str
) -> None:
    answer = command("run", "study/x.yaml", "--designs", "linux-6.13", "--set", setting, "--dry-run")
    assert (answer.code, len(answer.err.splitlines())) == (2, 1), answer.err
    assert says in answer.err


GRID = """\
name: g
machines: [desktop-8, epyc-9965-guest]
designs: [linux-6.13, cortenmm-adv]
workloads: [pf, mmap]
placements: [low, high]
threads: [1, 16]
exclude: [{machine: desktop-8, threads: "> 8"}, {workload: mmap, placement: high}]
only: [{design: linux-6.13}, {design: cortenmm-adv, threads: 1}]
overrides:
  linux-6.13: {design.limits.pcp_batch: 31}
  mmap: {workload.requests: 32}
"""


def test_does_a_list_that_is_none_stay_one_fault(command: Command, folder: Path) -> None:
    (folder / "g.yaml").write_text(GRID.replace("[pf, mmap]", "5").partition("exclude")[0])
    answer = command("run", "g.yaml", "--dry-run", "--threads", "1")
    assert (answer.code, answer.err) == (2, "g.yaml:4:12: workloads: must be a list (got 5)\n")


@pytest.mark.parametrize(
    "narrower",
    [
        ["--machine", "epyc-9965-guest"],
        ["--designs", "cortenmm-adv"],
        ["--threads", "1"],
        ["--set", "workloads=[pf]"],
        ["--set", "placements=[low]"],
        ["--set", "workloads=[unmap]", "--set", "placements=[low]", "--designs", "linux-6.13"],
    ],
)
def test_does_narrowing_leave_the_conditions_of_the_file_alone(
    command: Command, folder: Path, narrower: list[str]
) -> None:
    (folder / "g.yaml").write_text(GRID)
    answer = command("run", "g.yaml", *narrower, "--dry-run")
    assert answer.code == 0, answer.err


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("machine: desktop-8,", "machine: desktop-9,"),
        ("workload: mmap,", "workload: mmpa,"),
        ("placement: high", "placement: hgih"),
        ("mmap: {workload", "mmpa: {workload"),
    ],
)
def test_is_a_typo_in_the_file_still_one(command: Command, folder: Path, old: str, new: str) -> None:
    (folder / "g.yaml").write_text(GRID.replace(old, new))
    answer = command("run", "g.yaml", "--dry-run")
    assert answer.code == 2
    assert "of this experiment" in answer.err


@pytest.mark.parametrize(
    "left_out", ["{design: linux-6.13, threads: 1}", "{design: linux-6.13, machine: desktop-8}"]
)
@pytest.mark.ci
def test_ends_a_run_well_whose_baseline_lacks_points(command: Command, folder: Path, left_out: str) -> None:
    text = EXPERIMENT.replace("machine: ", "machines: [desktop-8, ").replace("guest\n", "guest]\n")
    (folder / "e.yaml").write_text(text.replace("[pf]", "[mmap]") + f"exclude: [{left_out}]\n")
    answer = command("run", "e.yaml", "--workers", "1", "--quiet")
    assert (answer.code, answer.err) == (0, "")
    assert Path("results/e/plots/one-thread.png").is_file()
