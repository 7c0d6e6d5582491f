"""What becomes of a file: inheritance, origins, overrides, and the model's refusals with their places."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from fakes import faults_of

from sim.files import kind_of, load_spec, parse_override, presets

Write = Callable[[str, str], None]


@pytest.fixture
def write(house: Path) -> Write:
    def write(name: str, text: str) -> None:
        (house / name).write_text(text)

    return write


@pytest.mark.usefixtures("house")
def test_does_a_child_overlay_its_parent() -> None:
    large = load_spec("machine", "large")
    assert large.document.tree == {
        "name": "large",
        "cpus": 64,
        "latency": {"near": "40 ns", "far": "100 ns"},
    }
    assert [file.path for file in large.files] == [
        "configs/machines/large.yaml",
        "configs/machines/small.yaml",
    ]


@pytest.mark.usefixtures("house")
def test_is_the_origin_of_a_value_kept_beside_it() -> None:
    document = load_spec("machine", "large").document
    near, cpus = document.provenance["latency", "near"], document.provenance[("cpus",)]
    assert (near.value, near.quality, near.source, near.range) == (
        "40 ns",
        "measured",
        "LAB",
        ("30 ns", "50 ns"),
    )
    assert (near.position.file, near.position.line) == ("configs/machines/small.yaml", 4)
    assert (cpus.value, cpus.quality, cpus.source) == (64, "published", None)
    assert document.sources == {"LAB": "our own bench"}


def test_does_a_plain_value_drop_the_origin_of_the_one_it_replaces(write: Write) -> None:
    write("configs/machines/mine.yaml", "name: mine\ninherits: small\nlatency: {near: 1 ns}\n")
    document = load_spec("machine", "mine").document
    assert document.tree["latency"] == {"near": "1 ns", "far": "100 ns"}
    assert ("latency", "near") not in document.provenance


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "name: a\ninherits: b\n",
            "configs/machines/b.yaml:2:11: inherits: inherits from itself: a -> b -> a (got 'a')",
        ),
        (
            "name: a\ninherits: smal\ncpus: 1\nlatency: {}\n",
            "configs/machines/a.yaml:2:11: inherits: unknown machine (got 'smal'; "
            "allowed: a, b, large, small or a path to a .yaml file; did you mean 'small'?)",
        ),
        (
            "name: a\ninherits: [small]\ncpus: 1\nlatency: {}\n",
            "configs/machines/a.yaml:2:11: inherits: must be the name of a file of the same kind "
            "(got ['small'])",
        ),
    ],
)
def test_which_parents_are_refused(write: Write, text: str, message: str) -> None:
    write("configs/machines/a.yaml", text)
    write("configs/machines/b.yaml", "name: b\ninherits: a\n")
    assert faults_of(load_spec, "machine", "a") == [message]


HEAD = "name: a\nfamily: fake\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            HEAD + "syscal: 70 ns\nsyscall: 70 ns\n",
            "3:1: syscal: unknown key (allowed: name, title, family, syscall, mode; did you mean 'syscall'?)",
        ),
        (HEAD, "1:1: syscall: required key is missing"),
        (
            HEAD + "syscall: 70 meters\n",
            "3:10: syscall: not a duration: write a number and a unit such as '120 ns' (ps, ns, us, "
            "µs, ms, s) "
            "(got '70 meters')",
        ),
        (HEAD + "syscall: -5 ns\n", "3:10: syscall: a duration cannot be negative (got '-5 ns')"),
        (
            HEAD + "syscall: 70\n",
            "3:10: syscall: not a duration: write a number and a unit such as '120 ns' (ps, ns, us, "
            "µs, ms, s) "
            "(got 70)",
        ),
        (
            HEAD + "syscall: 70 ns\nmode: eagre\n",
            "4:7: mode: unknown value (got 'eagre'; allowed: eager, lazy; did you mean 'eager'?)",
        ),
        (
            "name: b\nfamily: fake\nsyscall: 1 ns\n",
            "1:7: name: the name must be that of the file (got 'b'; allowed: a)",
        ),
        (
            "name: a\nfamily: faek\nsyscall: 1 ns\n",
            "2:9: family: unknown design family (got 'faek'; allowed: fake; did you mean 'fake'?)",
        ),
        ("name: a\nfamily: [x]\n", "2:9: family: unknown design family (got ['x']; allowed: fake)"),
        ("name: 3\nfamily: fake\nsyscall: 1 ns\n", "1:7: name: must be text (got 3)"),
        (
            HEAD + "syscall: {value: 1 ns, qualty: measured}\n",
            "3:24: syscall.qualty: unknown key in a sourced value (allowed: value, quality, source, "
            "note, range; "
            "did you mean 'quality'?)",
        ),
        (
            HEAD + "syscall: {value: 1 ns, note: bare metal, C1}\n",
            "3:42: syscall.C1: unknown key in a sourced value: text with a comma needs quotes "
            "(allowed: value, quality, source, note, range)",
        ),
        (
            HEAD + "syscall: {value: 1 ns, quality: measurd}\n",
            "3:33: syscall.quality: unknown quality (got 'measurd'; allowed: measured, published, "
            "derived, recalled, "
            "estimated, fitted; did you mean 'measured'?)",
        ),
        (
            HEAD + "syscall: {value: -1 ns, quality: measured}\n",
            "3:18: syscall: a duration cannot be negative (got '-1 ns')",
        ),
        (
            HEAD + "syscall: 1 ns\nsources: [x]\n",
            "4:10: sources: must map a short name to the text of a source",
        ),
    ],
)
def test_which_designs_are_refused_and_where(write: Write, text: str, message: str) -> None:
    write("configs/designs/a.yaml", text)
    assert faults_of(load_spec, "design", "a") == [f"configs/designs/a.yaml:{message}"]


@pytest.mark.parametrize(
    ("step", "message"),
    [
        (
            "{do: tuoch, size: 4 KiB}",
            "3:10: steps[0].do: unknown do (got 'tuoch'; allowed: touch, think; did you mean 'touch'?)",
        ),
        ("{size: 4 KiB}", "3:5: steps[0].do: required key is missing"),
        ("{do: touch}", "3:5: steps[0].size: required key is missing"),
        (
            "{do: touch, sise: 4 KiB, size: 1 B}",
            "3:17: steps[0].sise: unknown key (allowed: do, size; did you mean 'size'?)",
        ),
        ("touch", "3:5: steps[0]: must be a mapping (got 'touch')"),
    ],
)  # fmt: skip
def test_are_faults_inside_alternatives_placed_and_explained(write: Write, step: str, message: str) -> None:
    write("workloads/a.yaml", f"name: a\nsteps:\n  - {step}\n")
    assert faults_of(load_spec, "workload", "a") == [f"workloads/a.yaml:{message}"]


def test_does_an_inherited_fault_point_into_the_parent(write: Write) -> None:
    write("configs/designs/a.yaml", HEAD + "syscall: soon\n")
    write("configs/designs/b.yaml", "name: b\ninherits: a\nmode: lazy\n")
    assert [fault.split(": ")[0] for fault in faults_of(load_spec, "design", "b")] == [
        "configs/designs/a.yaml:3:10"
    ]


def test_are_all_faults_of_a_file_reported_at_once(write: Write) -> None:
    write("configs/designs/a.yaml", "name: a\nfamily: fake\nsyscall: 5\nmode: no\nextra: 1\nname: a\n")
    lines = [fault.split(": ")[0].rpartition("yaml:")[2] for fault in faults_of(load_spec, "design", "a")]
    assert lines == ["3:10", "4:7", "5:1", "6:1"]


@pytest.mark.usefixtures("house")
def test_does_an_override_replace_a_value_and_take_the_blame() -> None:
    override = parse_override("design.syscall=5 ns", "--set design.syscall=5 ns")
    assert load_spec("design", "calm", [override]).document.tree["syscall"] == "5 ns"
    wrong = parse_override("design.syscal=5 ns", "--set design.syscal=5 ns")
    assert faults_of(load_spec, "design", "calm", [wrong]) == [
        "--set design.syscal=5 ns: syscal: unknown key "
        "(allowed: name, title, family, syscall, mode; did you mean 'syscall'?)"
    ]


@pytest.mark.usefixtures("house")
@pytest.mark.parametrize("path", ["workload.steps.0.size", "workload.placements.low.leaves"])
def test_can_an_override_reach_into_lists_and_new_keys(path: str) -> None:
    override = parse_override(f"{path}=8 KiB" if "size" in path else f"{path}=8", "--set")
    load_spec("workload", "walk", [override])


@pytest.mark.usefixtures("house")
@pytest.mark.parametrize("path", ["workload.steps.7.size", "workload.steps.x", "workload.name.x"])
def test_is_an_override_beside_the_tree_refused(path: str) -> None:
    override = parse_override(f"{path}=1", f"--set {path}=1")
    (fault,) = faults_of(load_spec, "workload", "walk", [override])
    assert fault.startswith(f"--set {path}=1: {path}: no such place in workloads/walk.yaml")


@pytest.mark.parametrize("text", ["threads", "=1", "a..b=1", "threads=[1", "seed=010"])
def test_which_override_texts_are_refused(text: str) -> None:
    (fault,) = faults_of(parse_override, text, f"--set {text}")
    assert fault.startswith(f"--set {text}: ")


def test_does_a_name_find_its_file_in_a_folder_below(write: Write, house: Path) -> None:
    """Also for a parent and from a folder beside; a path counts from the file's own folder."""
    for folder in ("near", "far"):
        (house / "configs/machines" / folder).mkdir()
    write("configs/machines/near/tiny.yaml", "name: tiny\ninherits: small\ncpus: 2\n")
    write("configs/machines/far/mini.yaml", "name: mini\ninherits: tiny\n")
    write("configs/machines/far/nano.yaml", "name: nano\ninherits: ../near/tiny.yaml\ncpus: 1\n")
    assert [load_spec("machine", name).document.tree["cpus"] for name in ("mini", "nano")] == [2, 1]
    assert [presets.group("machine", presets.files_of("machine")[name][0]) for name in ("mini", "small")] == [
        "far",
        "",
    ]


def test_are_two_files_of_one_name_one_error(write: Write, house: Path) -> None:
    (house / "configs/machines/near").mkdir()
    write("configs/machines/near/small.yaml", "name: small\ncpus: 2\n")
    (fault,) = faults_of(load_spec, "machine", "small")
    assert "several machines on board have this name" in fault
    assert all(f"configs/machines/{path}" in fault for path in ("small.yaml", "near/small.yaml"))
    assert presets.rivals("machine", presets.files_of("machine")["small"]) in fault


def test_is_a_file_in_a_folder_below_of_the_kind_of_the_folder(write: Write, house: Path) -> None:
    (house / "workloads/mine").mkdir()
    write("workloads/mine/plain.yaml", "name: plain\n")
    assert kind_of(house / "workloads/mine/plain.yaml") == "workload"
