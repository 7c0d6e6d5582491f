"""Which points does an experiment ask for, and what makes it impossible?"""

from __future__ import annotations

from pathlib import Path

import pytest
from fakes import faults_of

from sim.errors import InputError
from sim.experiment import Experiment, load
from sim.files import parse_override

GOOD = "name: e\nmachine: small\ndesigns: [calm, busy]\nworkloads: [walk]\nthreads: [1, 8]\n"


def test_is_every_combination_one_point_in_a_fixed_order(pair: Experiment) -> None:
    assert len(pair.points) == 2 * 2 * 4
    assert [(p.placement, p.design, p.threads) for p in pair.points[:5]] == [
        ("low", "calm", 1),
        ("low", "calm", 2),
        ("low", "calm", 4),
        ("low", "calm", 8),
        ("low", "busy", 1),
    ]


def test_do_all_designs_face_the_same_draw(pair: Experiment) -> None:
    seeds: dict[object, set[int]] = {}
    for point in pair.points:
        seeds.setdefault((point.workload, point.placement, point.threads), set()).add(point.seed)
    assert [len(group) for group in seeds.values()] == [1] * 8
    assert len(set.union(*seeds.values())) == 8


def test_does_a_points_seed_ignore_the_rest_of_the_experiment(pair: Experiment) -> None:
    fewer = load("pair", {"threads": [8], "design": "busy"})
    assert {p.seed for p in fewer.points} == {p.seed for p in pair.points if p.threads == 8}
    assert {p.id for p in fewer.points} <= {p.id for p in pair.points}


@pytest.mark.parametrize(
    "change",
    [
        {"seed": 8},
        {"budget.events": 9},
        {"design.syscall": "9 ns"},
        {"machine.cpus": 9},
        {"workload.steps": []},
    ],
)
def test_does_everything_a_result_depends_on_change_its_id(
    pair: Experiment, change: dict[str, object]
) -> None:
    assert not {p.id for p in load("pair", change).points} & {p.id for p in pair.points}


def test_does_a_title_leave_the_id_alone(pair: Experiment) -> None:
    assert [p.id for p in load("pair", {"design.title": "x"}).points] == [p.id for p in pair.points]


def test_are_ids_the_same_in_another_process_and_hash_seed(pair: Experiment) -> None:
    assert pair.points[0].seed == 48809897280603
    assert pair.points[0].id[:16] == "62a8159c72c0fef2"


def test_do_replicates_differ_in_seed_alone(house: Path) -> None:
    points = load("pair", {"replicates": 3, "threads": [1], "design": "calm"}).points
    assert [p.replicate for p in points] == [0, 1, 2, 0, 1, 2]
    assert len({p.seed for p in points}) == 6


def test_what_runs_without_placements(house: Path) -> None:
    assert {p.placement for p in load("pair", {"workloads": ["rest"]}).points} == {""}
    assert {p.placement for p in load("pair").points} == {"low", "high"}


def test_is_a_budget_under_its_old_name_read(house: Path) -> None:
    """With its fault where it was written."""
    (house / "e.yaml").write_text(GOOD + "limits: {events: 9}\n")
    assert {point.budget.events for point in load(house / "e.yaml").points} == {9}
    (house / "e.yaml").write_text(GOOD + "limits: {events: 0}\n")
    line = GOOD.count("\n") + 1
    with pytest.raises(InputError, match=rf"e\.yaml:{line}:18: .*events: too small"):
        load(house / "e.yaml")


def test_can_an_experiment_bring_its_own_files(house: Path) -> None:
    folder = house / "mine"
    folder.mkdir()
    (folder / "box.yaml").write_text("name: box\ninherits: small\ncpus: 2\n")
    (folder / "e.yaml").write_text(GOOD.replace("small", "./box.yaml").replace("8", "2"))
    (folder / "f.yaml").write_text(
        GOOD.replace("name: e", "name: f").replace("small", "box").replace("8", "2")
    )
    assert {p.machine for p in load("mine/e.yaml").points} == {"box"}
    assert {p.machine for p in load(folder / "f.yaml").points} == {"box"}


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "calm, busy",
            "clam, busy",
            "e.yaml:3:11: designs[0]: unknown design (got 'clam'; allowed: busy, calm or a path to a "
            ".yaml file; "
            "did you mean 'calm'?)",
        ),
        (
            "small",
            "smal",
            "e.yaml:2:10: machines[0]: unknown machine (got 'smal'; allowed: large, small or a path "
            "to a .yaml file; "
            "did you mean 'small'?)",
        ),
        ("[walk]", "[./gone.yaml]", "gone.yaml: cannot read the file: no such file or directory"),
        (
            "threads: [1, 8]",
            "threads: [1, 16]",
            "e.yaml:5:14: threads[1]: more threads than small has cpus (got 16; allowed: 1 to 8)",
        ),
        ("[1, 8]", "[0, 8]", "e.yaml:5:11: threads[0]: too small (got 0; allowed: at least 1)"),
        ("[1, 8]", "[1, 1]", "e.yaml:5:14: threads[1]: the same value twice in threads (got 1)"),
        ("[1, 8]", "8", "e.yaml:5:10: threads: must be a list (got 8)"),
        ("[1, 8]", "[]", "e.yaml:5:10: threads: must not be empty (got [])"),
        ("[1, 8]", "[true]", "e.yaml:5:11: threads[0]: must be a whole number (got True)"),
        ("[1, 8]", "[1.5]", "e.yaml:5:11: threads[0]: must be a whole number (got 1.5)"),
        ("[walk]", "[walk, walk]", "e.yaml:4:19: workloads[1]: the same workload twice (got 'walk')"),
        ("workloads: [walk]\n", "", "e.yaml:1:1: workloads: required key is missing"),
        (
            "name: e",
            "placements: [low, hgih]\nname: e",
            "e.yaml:1:19: placements[1]: the workload walk has no such placement (got 'hgih'; "
            "allowed: low, high; "
            "did you mean 'high'?)",
        ),
        (
            "name: e",
            "name: e/f",
            "e.yaml:1:7: name: the name must be that of the file (got 'e/f'; allowed: e)",
        ),
        (
            "name: e",
            "machines: [small]\nname: e",
            "e.yaml:3:1: machine: write `machine` or `machines`, not both",
        ),
        (
            "name: e",
            "budget: {simulated_time: -1 s}\nname: e",
            "e.yaml:1:26: budget.simulated_time: a duration cannot be negative (got '-1 s')",
        ),
        (
            "name: e",
            "budget: {events: 0}\nname: e",
            "e.yaml:1:18: budget.events: too small (got 0; allowed: at least 1)",
        ),
        (
            "name: e",
            "replicates: 5000\nname: e",
            "e.yaml:1:13: replicates: too large (got 5000; allowed: at most 1000)",
        ),
        (
            "name: e",
            "parameters: {workload.stpes: 1}\nname: e",
            "e.yaml:1:30: stpes: unknown key (allowed: name, title, placements, steps; did you mean "
            "'steps'?)",
        ),
        (
            "name: e",
            "parameters: {leaves: 1}\nname: e",
            "e.yaml:1:14: parameters.leaves: not the path of a value "
            "(allowed: machine.<key>, design.<key>, workload.<key>)",
        ),
        ("name: e", "parameters: [1]\nname: e", "e.yaml:1:13: parameters: must be a mapping (got [1])"),
    ],
)  # fmt: skip
def test_which_experiments_are_refused_and_where(house: Path, old: str, new: str, message: str) -> None:
    (house / "e.yaml").write_text(GOOD.replace(old, new))
    assert faults_of(load, "e.yaml") == [message]


def test_are_the_faults_of_all_files_reported_at_once(house: Path) -> None:
    (house / "configs/designs/calm.yaml").write_text("name: calm\nfamily: fake\nsyscall: 5\n")
    (house / "e.yaml").write_text(GOOD.replace("[1, 8]", "[1, 99]").replace("[walk]", "[wakl]") + "sed: 1\n")
    assert [fault.split(": ")[0] for fault in faults_of(load, "e.yaml")] == [
        "e.yaml:4:13",
        "e.yaml:5:14",
        "e.yaml:6:1",
        "configs/designs/calm.yaml:3:10",
    ]


def test_is_an_absurd_grid_refused_before_it_is_built(house: Path) -> None:
    grid = {"replicates": 1000, "threads": list(range(1, 101)), "machine.cpus": 100}
    assert faults_of(load, "pair", grid) == [
        "configs/experiments/pair.yaml:1:1: too many points (got 200000; allowed: at most 100000)"
    ]


@pytest.mark.usefixtures("house")
def test_does_an_unknown_name_get_a_suggestion() -> None:
    assert faults_of(load, "piar") == [
        "unknown experiment (got 'piar'; allowed: pair or a path to a .yaml file; did you mean 'pair'?)"
    ]


@pytest.mark.usefixtures("house")
def test_does_a_command_line_override_take_the_blame() -> None:
    override = parse_override("threads=[1,99]", "--threads 1,99")
    assert faults_of(load, "pair", [override]) == [
        "--threads 1,99: threads[1]: more threads than small has cpus (got 99; allowed: 1 to 8)"
    ]
