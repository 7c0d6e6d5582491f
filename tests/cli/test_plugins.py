"""A design from an outside package: is its code part of a result, and whom does a broken one harm?

The packages are real ones as far as Python can tell: a folder of site-packages with their files and metadata.
"""

from __future__ import annotations

import importlib
import json
import os
import pickle
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from answers import Answer, Command

from sim import plugins
from sim.errors import InputError
from sim.experiment import load, run_point
from sim.experiment.running import cluster
from sim.files.schema import schema

ROOT = Path(__file__).parents[2]

TOY = (plugins.Part("cortensim.designs", "toy"),)

PACKAGES = ("toymm", "shared", "broken", "rival", "one_lock")

MODULE = """\
from sim.designs import Family
from sim.designs.bench import BenchDesignSpec, kernel_of

class ToySpec(BenchDesignSpec):
    speed: int

FAMILY = Family("{family}", ToySpec, kernel_of)
"""
DESIGN = "name: {name}\ntitle: a toy\nfamily: {family}\nspeed: 3\n"
EXPERIMENT = """\
name: try-toy
machine: desktop-8
designs: [toy, hardware]
workloads: [private-work]
threads: [1, 2]
"""


def install(
    site: Path, package: str, family: str, *, module: str = MODULE, design: str = "toy", value: str = ""
) -> None:
    """Put *package* 1.0 into *site*: a module, one design, and the entry point *family*."""
    files = {
        f"{package}/__init__.py": module.format(family=family),
        f"{package}/parts.py": "X = 1\n",
        f"{package}/designs/{design}.yaml": DESIGN.format(name=design, family=family),
        f"{package}-1.0.dist-info/METADATA": f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n",
        f"{package}-1.0.dist-info/INSTALLER": "by hand\n",
        f"{package}-1.0.dist-info/entry_points.txt": (
            f"[cortensim.designs]\n{family} = {value or f'{package}:FAMILY'}\n"
        ),
    }
    files[f"{package}-1.0.dist-info/RECORD"] = "".join(f"{name},,\n" for name in files)
    for name, text in files.items():
        path = site / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def look_again(*packages: str) -> None:
    """Forget what was found, and modules of *packages*, as a new process would."""
    plugins.installed.cache_clear()
    plugins._spec.cache_clear()
    plugins._loaded.cache_clear()
    importlib.invalidate_caches()
    for name in list(sys.modules):
        if name.split(".")[0] in (packages or PACKAGES):
            del sys.modules[name]


@pytest.fixture
def site(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder of installed packages, empty; the current directory has an experiment with a toy."""
    site = folder / "site"
    site.mkdir()
    (folder / "try-toy.yaml").write_text(EXPERIMENT)
    monkeypatch.syspath_prepend(str(site))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    look_again()
    yield site
    monkeypatch.undo()
    look_again()


def points() -> dict[str, str]:
    """The ids of the experiment's points at one thread, by design."""
    look_again()
    return {point.design: point.id for point in load("try-toy.yaml").points if point.threads == 1}


def test_does_a_package_bring_its_family_and_its_designs(site: Path, command: Command) -> None:
    install(site, "toymm", "toy")
    look_again()
    listed = command("list", "designs").out.splitlines()
    assert "toy a toy" in [" ".join(line.split()) for line in listed]
    assert "toy toymm 1.0 family toy, design toy" in [" ".join(line.split()) for line in listed]
    assert "speed" in command("show", "toy").out
    assert command("check", "try-toy.yaml").code == 0
    assert "toy-ToySpec" not in json.dumps(schema("design"))
    assert '"speed"' in json.dumps(schema("design"))


@pytest.mark.ci
def test_does_it_run_in_worker_processes_and_stand_in_the_manifest(site: Path) -> None:
    install(site, "toymm", "toy")
    look_again()
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{site}"}
    arguments = ["run", "try-toy.yaml", "--workers", "2", "--no-plots", "--out", "out"]
    subprocess.run(
        [sys.executable, "-m", "sim", *arguments], env=environment, check=True, capture_output=True
    )
    rows = (site.parent / "out/points.csv").read_text().splitlines()[1:]
    assert [row.split(",")[0] for row in rows] == ["toy", "toy", "hardware", "hardware"]
    assert all(",ok," in row for row in rows)
    manifest = json.loads((site.parent / "out/manifest.json").read_text())
    (plugin,) = plugins.named("cortensim.designs", "toy")
    assert manifest["plugins"] == [
        {"family": "toy", "name": "toymm", "version": "1.0", "sha256": plugin.digest}
    ]


@pytest.mark.parametrize("file", ["__init__.py", "parts.py", "data/costs.csv", "designs/other.yaml"])
def test_does_a_change_of_any_of_its_files_make_other_points_of_its_designs_only(
    site: Path, file: str
) -> None:
    install(site, "toymm", "toy")
    before = points()
    path = site / "toymm" / file
    path.parent.mkdir(exist_ok=True)
    path.write_text((path.read_text() if path.exists() else "") + "# changed\n")
    after = points()
    assert after["toy"] != before["toy"]
    assert after["hardware"] == before["hardware"]


def test_does_what_is_no_file_of_its_own_leave_the_points_alone(
    site: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither compiled files nor what the installer wrote, nor where the package lies."""
    install(site, "toymm", "toy")
    before = points()
    (site / "toymm/__pycache__").mkdir()
    (site / "toymm/__pycache__/parts.cpython-311.pyc").write_bytes(b"compiled")
    (site / "toymm-1.0.dist-info/INSTALLER").write_text("somebody else\n")
    assert points() == before
    moved = site.rename(site.with_name("elsewhere"))
    monkeypatch.syspath_prepend(str(moved))
    assert points() == before


def test_are_the_points_of_a_design_on_board_the_same_with_and_without_plugins(site: Path) -> None:
    (site.parent / "try-toy.yaml").write_text(EXPERIMENT.replace("toy, ", ""))
    before = points()
    install(site, "toymm", "toy")
    assert points() == before


def test_does_a_package_in_a_shared_namespace_count_its_own_files_only(site: Path) -> None:
    install(site, "toymm", "toy", value="shared.toymm:FAMILY")
    (site / "shared").mkdir()
    (site / "toymm").rename(site / "shared/toymm")
    (site / "toymm-1.0.dist-info/RECORD").write_text("")
    before = points()
    (site / "shared/other.py").write_text("X = 1\n")
    assert points() == before
    (site / "shared/toymm/parts.py").write_text("X = 2\n")
    assert points()["toy"] != before["toy"]


def test_does_an_editable_install_count_the_files_of_its_package(site: Path) -> None:
    """Its RECORD names a .pth file and no source."""
    install(site, "toymm", "toy")
    (site / "toymm-1.0.dist-info/RECORD").write_text(
        "__editable__.toymm-1.0.pth,,\ntoymm-1.0.dist-info/RECORD,,\n"
    )
    (site / "__editable__.toymm-1.0.pth").write_text("/home/somebody/toymm\n")
    before = points()
    (site / "__editable__.toymm-1.0.pth").write_text("/home/somebody-else/toymm\n")
    assert points() == before
    (site / "toymm/parts.py").write_text("X = 2\n")
    assert points()["toy"] != before["toy"]


@pytest.mark.parametrize(
    ("module", "value", "reason"),
    [
        ("import nothing_of_this_name", "", "ModuleNotFoundError: No module named 'nothing_of_this_name'"),
        ("raise SystemExit(3)", "", "SystemExit: 3"),
        ("raise RuntimeError('[/] no \\x1b[31mred')", "", r"RuntimeError: [/] no \x1b[31mred"),
        ("def broken(:", "", "SyntaxError: invalid syntax (__init__.py, line 1)"),
        ("FAMILY = 3", "", "what it names is of type int, not a sim.designs.Family"),
        (MODULE, "broken:FAMILIES", "AttributeError: module 'broken' has no attribute 'FAMILIES'"),
        (MODULE, "brokken:FAMILY", "ModuleNotFoundError: No module named 'brokken'"),
        (
            MODULE.replace("{family}", "other"),
            "",
            "its Family has the name 'other', not that of the entry point",
        ),
        (
            MODULE.replace("ToySpec, kernel", "int, kernel"),
            "",
            "the spec of its Family is no subclass of sim.designs.DesignSpec",
        ),
    ],
)
@pytest.mark.ci
def test_does_a_broken_one_harm_only_who_uses_it(
    site: Path, command: Command, module: str, value: str, reason: str
) -> None:
    install(site, "broken", "worse", module=module, design="worse", value=value)
    look_again()
    listed = command("list", "designs")
    assert listed.code == 0
    assert f"cannot be used: {reason}" in " ".join(listed.out.split())
    assert "linux-6.13" in listed.out
    assert command("check", "e.yaml") == Answer(0, "e.yaml: experiment e is fine\n", "")
    assert run_point(load("e.yaml").points[0]).row.status == "ok"
    assert '"tree_children"' in json.dumps(schema("design"))
    worse = site / "broken/designs/worse.yaml"
    (site.parent / "use.yaml").write_text(EXPERIMENT.replace("try-toy", "use").replace("toy,", f"{worse},"))
    for arguments in (("check", "use.yaml"), ("run", "use.yaml"), ("show", worse)):
        answer = command(*arguments)
        assert answer.code == 2
        (line,) = answer.err.splitlines()
        assert "worse.yaml:3:9: family: this plug-in cannot be used: entry point 'worse'" in line
        assert f"of broken 1.0: {reason}" in line


def test_are_two_packages_with_one_family_refused_and_both_named(site: Path, command: Command) -> None:
    install(site, "toymm", "toy")
    install(site, "rival", "toy", design="toy-2")
    look_again()
    listed = " ".join(command("list", "designs").out.split())
    assert "rival 1.0 brings a family 'toy' too: one of them has to go" in listed
    assert "toymm 1.0 brings a family 'toy' too: one of them has to go" in listed
    answer = command("check", "try-toy.yaml")
    assert answer.code == 2
    assert "brings a family 'toy' too" in answer.err


def test_may_a_package_take_a_name_that_is_on_board(site: Path, command: Command) -> None:
    """Neither a family's nor a design's: what is on board stays what it is."""
    install(site, "rival", "linux", design="linux-6.13")
    look_again()
    listed = " ".join(command("list", "designs").out.split())
    assert "cannot be used: the family 'linux' is on board: a plug-in needs another name" in listed
    assert "title: a toy" not in command("show", "linux-6.13").out
    assert run_point(load("e.yaml").points[0]).row.status == "ok"
    install(site, "toymm", "toy", design="hardware")
    look_again()
    listed = " ".join(command("list", "designs").out.split())
    assert "family toy, design hardware (hidden: a preset on board has its name)" in listed
    assert "speed" not in command("show", "hardware").out


def test_is_a_design_that_two_packages_bring_asked_for_by_its_path(site: Path, command: Command) -> None:
    install(site, "toymm", "toy")
    install(site, "rival", "toy-2")
    look_again()
    assert "several plug-ins bring a design of this name: name" in command("list", "designs").out
    answer = command("check", "try-toy.yaml")
    assert answer.code == 2
    assert "several plug-ins bring a design of this name" in answer.err
    assert str(site / "rival/designs/toy.yaml") in answer.err


def test_do_workers_with_other_code_refuse(site: Path) -> None:
    """On this machine as a failed row, on a cluster as the end of the run."""
    install(site, "toymm", "toy")
    look_again()
    point = load("try-toy.yaml").points[0]
    assert run_point(point).row.status == "ok"
    packed = pickle.dumps(point)
    assert cluster._on_worker(packed, run_point, point.code, TOY).row.status == "ok"
    (site / "toymm/parts.py").write_text("X = 2\n")
    look_again()
    assert "changed after the experiment was read" in run_point(point).row.error
    with pytest.raises(InputError, match="or lack or differ in a plug-in"):
        cluster._on_worker(packed, run_point, point.code, TOY)


def _verify() -> None:
    """With mmap, munmap and touch alone, and no line of its own about it."""
    from sim.verify import DEFAULT, SCENARIOS, run_session

    programs = {"alone", "apart", "shared", "processes", "short histories"}
    rows = list(run_session(["one-lock.yaml"], DEFAULT, 60, 0, executions=3))
    assert {row.scenario for row in rows} == programs | {"exhaustive", "random orders", "priorities"}
    rows += run_session(["one-lock.yaml"], [SCENARIOS["exhaustive/munmap-fault"]], 60, 0, executions=30)
    assert rows[-1].outcome.executions == 30 or rows[-1].outcome.whole
    assert not [violation for row in rows for violation in row.outcome.violations]


def test_does_the_design_of_the_handbook_run_as_a_single_module(site: Path) -> None:
    """docs/extending.md, "A design": its module, its entry point, its design file."""
    for name, text in re.findall(
        r"^```\w+\n# (one_lock\.py|one-lock\.yaml|pyproject\.toml)\n(.*?)^```$",
        (ROOT / "docs/extending.md").read_text(),
        re.MULTILINE | re.DOTALL,
    ):
        (site.parent / name).write_text(text)
    project = tomllib.loads((site.parent / "pyproject.toml").read_text())["project"]
    ((family, value),) = project["entry-points"]["cortensim.designs"].items()
    metadata = site / "cortensim_one_lock-0.1.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: 0.1\n")
    (metadata / "entry_points.txt").write_text(f"[cortensim.designs]\n{family} = {value}\n")
    (site.parent / "one_lock.py").rename(site / "one_lock.py")
    (site.parent / "try-toy.yaml").write_text(
        EXPERIMENT.replace("toy, hardware", "one-lock").replace("private-work", "mmap-pf")
    )
    look_again()
    (first, *_) = load("try-toy.yaml").points
    outcome = run_point(first)
    assert outcome.row.error == ""
    assert outcome.breakdown["lock: address space"] > 0
    _verify()
    source = site / "one_lock.py"
    source.write_text(source.read_text() + "# changed\n")
    look_again()
    assert load("try-toy.yaml").points[0].id != first.id
