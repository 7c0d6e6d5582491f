"""Which points do sweeps, filters, overrides and included files make, and what is refused?"""

from __future__ import annotations

from pathlib import Path

import fakes
import pandas as pd
import pytest
from fakes import faults_of

from sim.experiment import Experiment, load, run, run_points
from sim.files import parse_override

BASE = "name: e\nmachine: small\ndesigns: [calm, busy]\nworkloads: [rest]\nthreads: [1, 8]\n"


def experiment(house: Path, text: str, **options: bool) -> Experiment:
    (house / "e.yaml").write_text(BASE + text)
    return load("e.yaml", **options)


def test_may_threads_be_ranges(house: Path) -> None:
    assert load("pair", {"threads": "1..8 x2"}).spec.threads == (1, 2, 4, 8)
    assert load("pair", {"threads": [1, "2..6 +2", 8]}).spec.threads == (1, 2, 4, 6, 8)
    assert load("pair", [parse_override("threads=[1..8 x2]", "--threads")]).spec.threads == (1, 2, 4, 8)


def test_does_a_sweep_cross_all_values(house: Path) -> None:
    points = experiment(
        house,
        "sweep:\n  machine.latency.far: [100 ns, 150 ns]\n  design.syscall: [1 ns, 2 ns, 3 ns]\n",
    ).points
    assert len(points) == len({point.id for point in points}) == 2 * 3 * 2 * 2
    assert [point.swept for point in points[:5:4]] == [
        (("machine.latency.far", "100 ns"), ("design.syscall", "1 ns")),
        (("machine.latency.far", "100 ns"), ("design.syscall", "2 ns")),
    ]
    assert {(p.machine_spec.latency["far"], p.design_spec.syscall) for p in points} == {  # type: ignore[attr-defined]
        (far, syscall) for far in (100_000, 150_000) for syscall in (1000, 2000, 3000)
    }


def test_do_all_swept_values_face_the_same_draw(house: Path) -> None:
    points = experiment(house, "sweep: {design.syscall: [1 ns, 2 ns]}\n").points
    assert len({point.seed for point in points if point.threads == 8}) == 1


def test_do_zipped_values_go_together(house: Path) -> None:
    points = experiment(
        house,
        "zip: {design.syscall: [1 ns, 2 ns], machine.cpus: 8..9}\nsweep: {machine.latency.far: [1 ns]}\n",
    ).points
    assert {(p.design_spec.syscall, p.machine_spec.cpus) for p in points} == {(1000, 8), (2000, 9)}  # type: ignore[attr-defined]


def test_are_swept_values_columns_of_every_table(house: Path) -> None:
    sweep = "sweep: {machine.cpus: [8, 9], design.syscall: [1 ns, 2 ns]}\n"
    frame = run(experiment(house, sweep), out="out", task=fakes.measure)
    assert list(frame.columns)[5:10] == [
        "seed",
        "replicate",
        "machine.cpus",
        "design.syscall",
        "throughput_ops_per_us",
    ]
    for table in (pd.read_csv("out/points.csv"), pd.read_parquet("out/points.parquet"), frame):
        assert list(table["machine.cpus"]) == [8] * 8 + [9] * 8
        assert list(table["design.syscall"])[:5] == ["1 ns"] * 4 + ["2 ns"]
    assert set(pd.read_csv("out/breakdown.csv")["machine.cpus"]) == {8, 9}


def test_does_a_failed_point_keep_its_swept_values(house: Path) -> None:
    points = experiment(house, "sweep: {machine.cpus: [8, 9]}\n").points
    frame = run_points(points, task=fakes.fail_at_eight)
    assert list(frame.loc[frame["status"] == "failed", "machine.cpus"]) == [8, 8, 9, 9]


def test_does_an_override_reach_one_design_only(house: Path) -> None:
    points = experiment(
        house, "overrides:\n  busy: {design.syscall: 5 ns}\n  small: {machine.latency.far: 7 ns}\n"
    ).points
    assert {(p.design, p.design_spec.syscall) for p in points} == {("calm", 100_000), ("busy", 5000)}  # type: ignore[attr-defined]
    assert {p.machine_spec.latency["far"] for p in points} == {7000}  # type: ignore[attr-defined]


def test_does_the_command_line_beat_an_override(house: Path) -> None:
    (house / "e.yaml").write_text(BASE + "overrides: {busy: {design.syscall: 5 ns}}\n")
    points = load("e.yaml", {"design.syscall": "9 ns"}).points
    assert {p.design_spec.syscall for p in points} == {9000}  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ('only: [{threads: "< 8"}]\n', {("calm", 1), ("busy", 1)}),
        ("exclude: [{design: calm, threads: 8}]\n", {("calm", 1), ("busy", 1), ("busy", 8)}),
        ("only: [{design: [calm]}, {threads: 5..9}]\n", {("calm", 1), ("calm", 8), ("busy", 8)}),
        ('exclude: [{threads: "!= 8"}, {design: busy}]\n', {("calm", 8)}),
    ],
)
def test_which_points_do_filters_leave(house: Path, text: str, left: set[tuple[str, int]]) -> None:
    assert {(p.design, p.threads) for p in experiment(house, text).points} == left


def test_may_a_filter_see_swept_values_and_spare_a_small_machine(house: Path) -> None:
    text = 'sweep: {machine.cpus: [2, 8]}\nexclude: [{machine.cpus: 2, threads: "> 2"}]\n'
    points = experiment(house, text).points
    assert {(p.machine_spec.cpus, p.threads) for p in points} == {(2, 1), (8, 1), (8, 8)}


def test_what_does_quick_change(house: Path) -> None:
    text = "quick: {threads: [2], design: busy, seed: 5}\n"
    assert [p.threads for p in experiment(house, text, quick=True).points] == [2]
    assert len(experiment(house, text).points) == 4
    assert load("e.yaml", {"threads": [4]}, quick=True).spec.threads == (4,)


def test_are_shared_parts_included(house: Path) -> None:
    (house / "parts").mkdir()
    (house / "parts/a.yaml").write_text("machine: large\nbudget: {events: 5}\nseed: 3\n")
    (house / "parts/b.yaml").write_text("seed: 4\nbudget: {simulated_time: 1 s}\n")
    found = experiment(house, "include: [parts/a.yaml, parts/b.yaml]\n")
    assert (found.spec.seed, found.spec.budget.events, found.spec.machines) == (4, 5, ("small",))
    assert [file.path for file in found.files][:3] == ["e.yaml", "parts/a.yaml", "parts/b.yaml"]


REFUSED = {
    "sweep: {machine.latncy.far: [1 ns]}\n": "e.yaml:6:30: latncy: unknown key",
    "sweep: {machine.latency.far: [1 ns, 2 nm]}\n": "e.yaml:6:37: latency.far: not a duration",
    "sweep: {latency: [1 ns]}\n": "e.yaml:6:9: sweep.latency: not the path of a value",
    "sweep: {machine.cpus: 8}\n": "e.yaml:6:23: sweep.machine.cpus: must be a list (got 8)",
    "sweep: {machine.cpus: []}\n": "e.yaml:6:23: sweep.machine.cpus: must not be empty",
    "sweep: {machine.cpus: [8, 8]}\n": "e.yaml:6:27: sweep.machine.cpus[1]: the same value twice",
    "sweep: {machine.cpus: 9..8}\n": "e.yaml:6:23: sweep.machine.cpus: a range must not end before",
    "sweep: {machine.cpus: [4]}\n": "e.yaml:5:14: threads[1]: more threads than small has cpus",
    "sweep: {machine.cpus: [9], machine: [x]}\n": "e.yaml:6:28: sweep.machine: not the path",
    "sweep: {design.name: [a, b]}\n": "e.yaml:6:9: sweep.design.name: not the path",
    "zip: {machine.cpus: [9], design.syscall: [1 ns, 2 ns]}\n": "e.yaml:6:6: zip: the lists must be",
    "sweep: {machine.cpus: [9]}\nzip: {machine.cpus: [8]}\n": "e.yaml:7:22: machine.cpus: machine.cpus is",
    "overrides: {clam: {design.syscall: 1 ns}}\n": "e.yaml:6:13: overrides.clam: no machine, design or",
    "overrides: {calm: {syscall: 1 ns}}\n": "e.yaml:6:20: overrides.calm.syscall: not the path",
    "only: [{treads: 1}]\n": "e.yaml:6:9: only[0].treads: not a property of a point",
    "only: [{design: clam}]\n": "e.yaml:6:17: only[0].design: no design of this experiment (got 'clam'",
    "only: [{threads: 7}]\n": "e.yaml:6:1: only: no point is left",
    "exclude: [{threads: most}]\n": "e.yaml:6:21: exclude[0].threads: matches no number (got 'most'",
    "exclude: [{}]\n": "e.yaml:6:11: exclude[0]: must not be empty",
    "include: ../secret.yaml\n": "e.yaml:6:10: include: leaves the folder of the experiment",
    "include: link.yaml\n": "e.yaml:6:10: include: leaves the folder of the experiment",
    "include: gone.yaml\n": "gone.yaml: cannot read the file",
    "include: [7]\n": "e.yaml:6:11: include[0]: must be the path of a YAML file",
    "include: e.yaml\n": "e.yaml:6:1: include: an included file cannot include another",
}


@pytest.mark.parametrize("text", REFUSED)
def test_which_sweeps_are_refused_and_where(house: Path, text: str) -> None:
    (house / "link.yaml").symlink_to("/etc/hostname")
    (house / "e.yaml").write_text(BASE + text)
    (fault,) = faults_of(load, "e.yaml")
    assert fault.startswith(REFUSED[text])


def test_which_quick_profiles_are_refused(house: Path) -> None:
    assert faults_of(lambda: load("pair", quick=True)) == [
        "configs/experiments/pair.yaml:1:1: this experiment has no `quick` profile"
    ]
    (house / "e.yaml").write_text(BASE + "quick: {name: f}\n")
    assert faults_of(lambda: load("e.yaml", quick=True)) == [
        "e.yaml:6:9: quick.name: cannot be changed by `quick`"
    ]


def test_may_the_command_line_hide_a_swept_value(house: Path) -> None:
    (house / "e.yaml").write_text(BASE + "sweep: {machine.cpus: [9]}\n")
    override = parse_override("machine.cpus=8", "--set machine.cpus=8")
    assert faults_of(load, "e.yaml", [override]) == [
        "--set machine.cpus=8: machine.cpus: machine.cpus is swept already"
    ]


@pytest.mark.ci
def test_is_an_absurd_sweep_refused_before_it_is_built(house: Path) -> None:
    (house / "e.yaml").write_text(BASE + "sweep: {machine.cpus: 8..9000, machine.latency.far: 1..9000}\n")
    assert "too many points" in faults_of(load, "e.yaml")[0]


def test_may_a_name_lead_out_of_the_results(house: Path) -> None:
    (house / "...yaml").write_text(BASE.replace("name: e", "name: .."))
    (fault,) = faults_of(load, "./...yaml")
    assert fault.startswith("...yaml:1:7: name: not a valid name (got '..'")
