"""A VMA lock from an outside package, one module and one design file: does Linux run with it?

The package lies in `outside/one_bit`; it is installed as far as Python can tell.
"""

from __future__ import annotations

import csv
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from answers import Command
from test_plugins import look_again

from sim import plugins
from sim.designs.linux.vma_locks import VMA_LOCKS
from sim.experiment import load, run_point
from sim.files.schema import schema

PACKAGE = Path(__file__).with_name("outside") / "one_bit"
ROOT = Path(__file__).parents[2]
EXPERIMENT = """\
name: try-bit
machine: desktop-8
designs: [linux-one-bit, linux-6.13]
workloads: [pf]
placements: [low]
threads: [4]
"""


@pytest.fixture
def module(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The installed package's module; the current directory has an experiment with its design."""
    site = folder / "site"
    shutil.copytree(PACKAGE, site / "one_bit", ignore=shutil.ignore_patterns("__pycache__"))
    metadata = site / "one_bit-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: one-bit\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text("[cortensim.vma_locks]\none-bit = one_bit:OneBitLocks\n")
    (folder / "try-bit.yaml").write_text(EXPERIMENT)
    monkeypatch.syspath_prepend(str(site))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    look_again("one_bit")
    yield site / "one_bit/__init__.py"
    monkeypatch.undo()
    look_again("one_bit")


def test_do_faults_take_it_in_a_run_from_the_command_line(module: Path, command: Command) -> None:
    ran = command("run", "try-bit.yaml", "--profile", "--no-plots", "--workers", "1", "--out", "out")
    assert ran.code == 0, ran.err
    with Path("out/points.csv").open() as stream:
        assert [row["status"] for row in csv.DictReader(stream)] == ["ok", "ok"]
    with Path("out/locks.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    taken = {
        design: {row["activity"]: int(row["acquisitions"]) for row in rows if row["design"] == design}
        for design in ("linux-one-bit", "linux-6.13")
    }
    assert taken["linux-one-bit"]["lock: vma bit"] > 0
    assert "lock: vma" not in taken["linux-one-bit"]
    assert "lock: vma bit" not in taken["linux-6.13"]
    manifest = json.loads(Path("out/manifest.json").read_text())
    (plugin,) = plugins.named("cortensim.vma_locks", "one-bit")
    assert manifest["plugins"] == [
        {"vma_lock": "one-bit", "name": "one-bit", "version": "1.0", "sha256": plugin.digest}
    ]


def test_is_it_verified_without_a_line_of_its_own(module: Path, command: Command) -> None:
    limits = "--scenario", "apart", "--scenario", "short histories", "--budget", "0.3s"
    ran = command("verify", "--design", "linux-one-bit", *limits)
    assert ran.code == 0, ran.err
    assert ran.out.count("linux-one-bit") == 2


def test_is_its_code_part_of_a_points_identity(module: Path) -> None:
    before = {point.design: point.id for point in load("try-bit.yaml").points}
    module.write_text(module.read_text() + "# changed\n")
    stale = load("try-bit.yaml").points[0]
    look_again("one_bit")
    after = {point.design: point.id for point in load("try-bit.yaml").points}
    assert after["linux-one-bit"] != before["linux-one-bit"]
    assert after["linux-6.13"] == before["linux-6.13"]
    assert "changed after the experiment was read" in run_point(stale).row.error


def test_does_it_stand_in_lists_and_schemas(module: Path, command: Command) -> None:
    listed = " ".join(command("list", "designs").out.split())
    assert "one-bit one-bit 1.0 vma_lock one-bit, design linux-one-bit" in listed
    assert '"one-bit"' in json.dumps(schema("design"))


@pytest.mark.parametrize("value", ["onebit", "true"])
def test_is_another_name_refused_with_those_that_are_allowed(
    module: Path, command: Command, value: str
) -> None:
    Path("own.yaml").write_text(f"name: own\ntitle: t\ninherits: linux-6.13\nvma_lock: {value}\n")
    Path("use.yaml").write_text(
        EXPERIMENT.replace("try-bit", "use").replace("linux-one-bit, linux-6.13", "./own.yaml")
    )
    answer = command("check", "use.yaml")
    assert answer.code == 2
    (line,) = answer.err.splitlines()
    assert "own.yaml:4:11: vma_lock: unknown value" in line
    assert "allowed: interval, none, one-bit, recheck, refcount, rwsem" in line


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("raise RuntimeError('no')", "RuntimeError: no"),
        ("OneBitLocks = 3", "what it names is no subclass of sim.designs.linux.VmaLocks"),
    ],
)
def test_does_a_broken_one_harm_only_who_uses_it(
    module: Path, command: Command, text: str, reason: str
) -> None:
    module.write_text(text)
    look_again("one_bit")
    answer = command("check", "try-bit.yaml")
    assert answer.code == 2
    (line,) = answer.err.splitlines()
    assert re.search(r"linux-one-bit\.yaml:4:\d+: vma_lock: this plug-in cannot be used", line)
    assert reason in line
    assert command("check", "e.yaml").code == 0


@pytest.mark.slow
def test_does_it_pass_the_check_of_types() -> None:
    """The protocol is all that an outside module has to go by."""
    checked = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", str(PACKAGE / "__init__.py")],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert checked.returncode == 0, checked.stdout


def test_are_none_and_rwsem_on_board() -> None:
    assert {"none", "rwsem"} <= set(VMA_LOCKS.names())
    with pytest.raises(KeyError):
        VMA_LOCKS["refcounts"]
