"""Does every example in README.md, docs/extending.md and docs/workloads.md work as it stands there?"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import get_args

import pytest
import yaml
from pydantic import BaseModel

from sim.workload.lock_spec import LockSpec
from sim.workload.place_spec import MmapStep, RangeStep
from sim.workload.step_spec import Step

pytestmark = pytest.mark.ci

ROOT = Path(__file__).parents[2]
_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks(document: str, language: str) -> list[str]:
    return [text for kind, text in _BLOCK.findall((ROOT / document).read_text()) if kind == language]


def run(*command: str, folder: Path) -> str:
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{folder}", "MPLBACKEND": "Agg"}
    done = subprocess.run(
        [sys.executable, *command], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def readme_files(folder: Path) -> None:
    for text in blocks("README.md", "yaml"):
        (folder / f"{yaml.safe_load(text)['name']}.yaml").write_text(text)


def test_do_the_files_of_the_readme_make_an_experiment(tmp_path: Path) -> None:
    readme_files(tmp_path)
    run("-m", "sim", "check", *(path.name for path in tmp_path.glob("*.yaml")), folder=tmp_path)
    run("-m", "sim", "run", "mine.yaml", "--threads", "1,16", "--no-plots", folder=tmp_path)
    assert (tmp_path / "results" / "mine" / "points.csv").is_file()


@pytest.mark.slow
def test_does_the_python_of_the_readme_plot(tmp_path: Path) -> None:
    (text,) = blocks("README.md", "python")
    # Spawned workers import the main module again, so a script that starts some needs the guard.
    body = "\n".join(f"    {line}" for line in text.splitlines())
    (tmp_path / "example.py").write_text(f"if __name__ == '__main__':\n{body}\n")
    run("example.py", folder=tmp_path)


FEW = ["--threads", "2", "--no-plots", "--designs", "linux-6.13"]


@pytest.fixture(scope="module")
def finished_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small run, to be copied."""
    folder = tmp_path_factory.mktemp("finished")
    run("-m", "sim", "run", "quickstart", *FEW, "--out", "run", folder=folder)
    return folder / "run"


@pytest.mark.parametrize(
    "command",
    [
        line.split("#")[0].strip()
        for block in blocks("README.md", "sh")
        for line in block.splitlines()
        if line.startswith("cortensim")
    ],
)
def test_does_the_command_line_of_the_readme_work(command: str, tmp_path: Path, finished_run: Path) -> None:
    """Runs take few threads and one design, and those that have their own tests, what-if among them, only say
    what they would run; validation shows only its options, and verification has two seconds."""
    arguments = shlex.split(command)[1:]
    if arguments[0] == "run":
        arguments += FEW if "--designs" not in arguments else FEW[:-2]
        if arguments[1] in ("will-it-scale", "paper-micro"):
            arguments.append("--dry-run")
    elif arguments[0] in ("plot", "compare", "report", "profile"):
        for out in arguments[1:]:
            shutil.copytree(finished_run, tmp_path / out)
    elif arguments[0] == "verify":
        design = (ROOT / "configs/designs/linux-6.13.yaml").read_text()
        (tmp_path / "mine.yaml").write_text(design.replace("name: linux-6.13", "name: mine", 1))
        arguments += ["list"] if arguments[-1] == "--mutants" else ["--scenario", "alone", "--budget", "2s"]
    elif arguments[0] == "whatif":
        run("-m", "sim", "run", "quickstart", *FEW, "--threads", "64", "--out", arguments[1], folder=tmp_path)
        arguments.append("--dry-run")
    elif arguments[0] == "validate":
        arguments.append("--help")
    run("-m", "sim", *arguments, folder=tmp_path)


def extending_files(folder: Path, page: str = "docs/extending.md") -> None:
    for _, text in _BLOCK.findall((ROOT / page).read_text()):
        name = re.match(r"# ([\w.-]+\.(?:yaml|py|csv))\n", text)
        if name:
            comment = len(name[0]) if name[1].endswith(".csv") else 0  # CSV has none
            (folder / name[1]).write_text(text[comment:])


@pytest.mark.slow
def test_do_the_files_of_extending_work_together(tmp_path: Path) -> None:
    extending_files(tmp_path)
    designs = {"linux-6.13-no-drain.yaml", "cortenmm-adv-base.yaml"}
    names = {"try.yaml", "desktop-8c.yaml", "arena.yaml"} | designs
    assert names <= {path.name for path in tmp_path.glob("*.yaml")}
    run("-m", "sim", "check", *sorted(names), folder=tmp_path)
    run("-m", "sim", "run", "try.yaml", "--threads", "1,4", "--no-plots", folder=tmp_path)


@pytest.mark.parametrize(
    "command",
    [
        line
        for block in blocks("docs/extending.md", "sh")
        for line in block.splitlines()
        if line.startswith(("cortensim validate", "cortensim fit"))
    ],
)
def test_do_measurements_beside_the_files_of_extending_count(command: str, tmp_path: Path) -> None:
    """The rows of the example are few, short and within their tolerance, so that it ends with 0."""
    extending_files(tmp_path)
    said = run("-m", "sim", *shlex.split(command)[1:], "--workers", "1", folder=tmp_path)
    assert "arena" in said
    assert said.count("not covered") == ("validate" in command)  # the column of the summary


def test_does_the_lock_of_extending_run(tmp_path: Path) -> None:
    extending_files(tmp_path)
    assert run("try_ticket.py", folder=tmp_path)


def test_does_the_listener_of_extending_hear_of_locks(tmp_path: Path) -> None:
    extending_files(tmp_path)
    assert run("longest_hold.py", folder=tmp_path).count(" ns\n") == 3


WORKLOADS = (ROOT / "docs/workloads.md").read_text(encoding="utf-8")
"""The page, whose examples each begin with the name of their file."""


def test_does_the_first_example_of_workloads_run(tmp_path: Path) -> None:
    extending_files(tmp_path, "docs/workloads.md")
    (block,) = blocks("docs/workloads.md", "sh")
    for line in block.splitlines():
        run("-m", "sim", *shlex.split(line)[1:], folder=tmp_path)
    assert (tmp_path / "results/try-smallest/points.csv").is_file()


@pytest.mark.slow
def test_does_every_workload_of_the_page_run(tmp_path: Path) -> None:
    """With three threads, of which the two that share a cpu are the ones that a run queue is for."""
    extending_files(tmp_path, "docs/workloads.md")
    names = [path.stem for path in sorted(tmp_path.glob("*.yaml")) if not path.stem.startswith("try-")]
    assert len(names) > 8
    run("-m", "sim", "check", *(f"{name}.yaml" for name in names), folder=tmp_path)
    experiment = {"name": "all", "machine": "epyc-9965-guest", "designs": ["linux-6.13"], "threads": [3]}
    (tmp_path / "all.yaml").write_text(yaml.safe_dump({**experiment, "workloads": names}))
    said = run("-m", "sim", "run", "all.yaml", "--no-plots", "--json", folder=tmp_path)
    assert json.loads(said)["failed"] == 0


def test_does_the_table_name_every_step() -> None:
    table = WORKLOADS.split("## All steps")[1].split("##")[0]
    rows = [line.split("|")[1] for line in table.splitlines() if line.startswith("| `")]
    beside = {"per", "less", "node"}  # keys beside a step
    steps = {field.alias or name for name, field in Step.model_fields.items()} - beside
    assert sorted(re.findall(r"`(\w+)`", "".join(rows))) == sorted(steps)


def test_does_the_page_name_every_kind_of_lock_and_place() -> None:
    kinds = {kind for lock in get_args(get_args(LockSpec)[0]) for kind in literals(lock, "kind")}
    places = {place for step in (MmapStep, RangeStep) for place in literals(step, "at")}
    assert [word for word in sorted(kinds | places) if f"`{word}`" not in WORKLOADS] == []


def literals(model: type[BaseModel], key: str) -> tuple[str, ...]:
    return get_args(model.model_fields[key].annotation)
