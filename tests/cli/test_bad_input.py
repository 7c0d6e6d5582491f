"""Is every mistake one clear message with its place, exit code 2 and never a traceback?"""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from answers import EXPERIMENT, Answer, Command

from sim.files import presets

WITH_AN_ALLOCATOR = ("bonsai", "interval", "linux-", "list-", "llfree", "index-interval", "index-maple")
ALLOCATORS = [name for name in presets.names("design") if name.startswith(WITH_AN_ALLOCATOR)]

BOMB = "a: &a [x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a]\n" + "".join(
    f"{new}: &{new} [{','.join([f'*{old}'] * 8)}]\n" for old, new in zip("bcdef", "cdefg", strict=True)
)

FILES = {
    "unknown key": (EXPERIMENT + "sed: 5\n", "e.yaml:7:1: sed: unknown key", "did you mean 'seed'?"),
    "misspelt design": (
        EXPERIMENT.replace("linux-6.13", "linux-613"),
        "e.yaml:3:11: designs[0]: unknown design (got 'linux-613'",
        "did you mean 'linux-6.13'?",
    ),
    "misspelt machine": (
        EXPERIMENT.replace("9965-guest", "9956-guest"),
        "e.yaml:2:10: machines[0]: unknown machine (got 'epyc-9956-guest'",
        "did you mean 'epyc-9965-guest'?",
    ),
    "misspelt placement": (
        EXPERIMENT.replace("[low]", "[lo]"),
        "e.yaml:5:14: placements[0]: the workload pf has no such placement (got 'lo'",
        "did you mean 'low'?",
    ),
    "missing workload": (
        EXPERIMENT.replace("[pf]", "[pf, forkbomb]"),
        "e.yaml:4:17: workloads[1]: unknown workload (got 'forkbomb'",
        "allowed: ",
    ),
    "missing workload file": (
        EXPERIMENT.replace("[pf]", "[mine/gone.yaml]"),
        "mine/gone.yaml: cannot read the file",
        "no such file",
    ),
    "wrong unit": (
        EXPERIMENT + "budget: {simulated_time: 3 parsec}\n",
        "e.yaml:7:26: budget.simulated_time: not a duration",
        "ps, ns, us, µs, ms, s",
    ),
    "no unit": (
        EXPERIMENT + "budget: {simulated_time: 3}\n",
        "e.yaml:7:26: budget.simulated_time: not a duration",
        "(got 3)",
    ),
    "negative time": (
        EXPERIMENT + "budget: {simulated_time: -3 ms}\n",
        "e.yaml:7:26: budget.simulated_time: a duration cannot be negative (got '-3 ms')",
        "",
    ),
    "broadcast without INVLPGB": (
        EXPERIMENT.replace("linux-6.13", "linux-6.13-invlpgb"),
        "e.yaml:3:10: designs: epyc-9965-guest cannot broadcast TLB flushes",
        "(got 'linux-6.13-invlpgb')",
    ),
    "ordinary workload on bare hardware": (
        EXPERIMENT.replace("cortenmm-adv", "hardware"),
        "e.yaml:3:23: designs[1]: hardware offers no mmap, no munmap, no touch, which pf needs",
        "(allowed: asterinas-0.18, bonsai-2.6.37, cortenmm-adv, cortenmm-adv-array, cortenmm-adv-base,",
    ),
    "bench of an allocator on a design without": (
        EXPERIMENT.replace("[pf]", "[bulk]").replace("[low]", "[order-0-get]"),
        "e.yaml:3:23: designs[1]: cortenmm-adv offers no allocate, no free, which bulk needs",
        f"(allowed: {', '.join(ALLOCATORS)})",
    ),
    "threads above cpus": (
        EXPERIMENT.replace("[1, 2]", "[1, 500]"),
        "e.yaml:6:14: threads[1]: more threads than epyc-9965-guest has cpus (got 500; allowed: 1 to 384)",
        "",
    ),
    "no threads": (
        EXPERIMENT.replace("[1, 2]", "[0]"),
        "e.yaml:6:11: threads[0]: too small (got 0; allowed: at least 1)",
        "",
    ),
    "duplicate key": (EXPERIMENT + "threads: [4]\n", "e.yaml:7:1: threads: repeated key", "line 6"),
    "ambiguous word": (EXPERIMENT + "title: no\n", "e.yaml:7:8: title: ", "true or false"),
    "ambiguous number": (EXPERIMENT + "seed: 010\n", "e.yaml:7:7: seed: ", "octal"),
    "tag": (EXPERIMENT + "seed: !!python/name:x 1\n", "e.yaml:7:7: seed: YAML tags are not allowed", ""),
    "alias bomb": (BOMB, "e.yaml:", "more than 32 aliases"),
    "empty file": ("", "e.yaml:1:1: the file is empty", ""),
    "not YAML": ("name: [e\nmachine: }{\n", "e.yaml:2:8: not valid YAML", ""),
    "not a mapping": ("hello\n", "e.yaml:1:1: the file must be a mapping", ""),
    "odd parameter": (
        EXPERIMENT + "parameters: {seed: 1}\n",
        "e.yaml:7:14: parameters.seed: not the path",
        "",
    ),
}


def assert_refused(answer: Answer, start: str, part: str = "") -> None:
    assert answer.code == 2
    assert answer.out == ""
    assert len(answer.err.splitlines()) == 1, answer.err
    assert answer.err.startswith(start), answer.err
    assert part in answer.err


@pytest.mark.parametrize("verb", ["run", "check"])
@pytest.mark.parametrize("case", FILES)
def test_is_a_bad_file_refused_in_one_message(command: Command, folder: Path, case: str, verb: str) -> None:
    text, start, part = FILES[case]
    (folder / "e.yaml").write_text(text)
    assert_refused(command(verb, "./e.yaml"), start, part)
    assert not (folder / "results").exists()


@pytest.mark.parametrize(
    ("arguments", "start"),
    [
        (["run", "quikstart"], "unknown experiment (got 'quikstart'; allowed: "),
        (["run", "gone.yaml"], "gone.yaml: cannot read the file: no such file or directory"),
        (["run", "."], "unknown experiment (got '.'"),
        (["run", "./"], ".: this is a directory, not a file"),
        (["run", "e.yaml", "--threads", "1,9999"], "--threads 1,9999: threads[1]: more threads than"),
        (
            ["run", "e.yaml", "--threads", "1,x"],
            "--threads 1,x: threads[1]: must be a whole number (got 'x')",
        ),
        (["run", "e.yaml", "--threads", ""], "--threads : threads: must not be empty"),
        (["run", "e.yaml", "--set", "seed"], "--set seed: must be a path and a value"),
        (["run", "e.yaml", "--set", "sed=1"], "--set sed=1: sed: unknown key"),
        (["run", "e.yaml", "--set", "seed=-1"], "--set seed=-1: seed: too small (got -1"),
        (["run", "e.yaml", "--set", "designs=[linux]"], "--set designs=[linux]: designs[0]: unknown design"),
        (["run", "e.yaml", "--set", "machine.nme=1"], "--set machine.nme=1: nme: unknown key"),
        (
            ["run", "e.yaml", "--workers", "0"],
            "cortensim run: argument --workers: not a number of processes: '0'",
        ),
        (["run", "e.yaml", "--workers", "many"], "cortensim run: argument --workers: not a number"),
        (["run"], "cortensim run: the following arguments are required: EXPERIMENT"),
        (["rnu", "e.yaml"], "cortensim: argument COMMAND: invalid choice: 'rnu'"),
        ([], "cortensim: the following arguments are required: COMMAND"),
        (["list", "machine"], "cortensim list: argument kind: invalid choice"),
        (["show", "epyc-9965-gest"], "no preset of this name (got 'epyc-9965-gest'"),
        (["show", "gone.yaml"], "gone.yaml: cannot read the file"),
        (["check", "gone.yaml"], "gone.yaml: cannot read the file"),
        (["check", "gone"], "gone: cannot read the file"),
        (["plot", "gone"], "gone: no such run, and no such file"),
        (["validate", "--data", "gone.csv"], "gone.csv: "),
        (["run", "e.yaml", "--set", f"machine={'a' * 300}"], "--set machine="),
        (["fit", "xeon-4s56"], "cortensim fit: the following arguments are required: --try"),
        (["fit", "xeon-4s56", "--try", "machine.clock=3"], "--try machine.clock=3: must be the path of a"),
        (["fit", "gone", "--try", "machine.clock=[1 GHz]"], "no row marked calibrate that the model covers"),
        (["fit", "xeon-4s56", "--try", "machine.clok=[1 GHz]"], "--try machine.clok=[1 GHz]: clok: unknown"),
    ],
)
def test_is_a_bad_argument_refused_in_one_message(
    command: Command, folder: Path, arguments: list[str], start: str
) -> None:
    assert_refused(command(*arguments), start)
    assert not (folder / "results").exists()


def test_is_a_directory_in_place_of_a_file_refused(command: Command, folder: Path) -> None:
    (folder / "d.yaml").mkdir()
    for verb in ("run", "check", "show"):
        assert_refused(command(verb, "d.yaml"), "d.yaml: this is a directory, not a file")


@pytest.mark.skipif(os.geteuid() == 0, reason="root can read everything")
def test_is_an_unreadable_file_refused(command: Command, folder: Path) -> None:
    (folder / "e.yaml").chmod(0)
    assert_refused(command("run", "e.yaml"), "e.yaml: cannot read the file: permission denied")


@pytest.mark.skipif(os.geteuid() == 0, reason="root can write everywhere")
def test_is_a_write_protected_folder_refused(command: Command, folder: Path) -> None:
    (folder / "locked").mkdir(mode=0o500)
    answer = command("run", "e.yaml", "--out", "locked/run")
    assert_refused(answer, "locked/run: cannot write results here: permission denied")


def test_is_a_folder_that_cannot_be_made_refused_before_anything_runs(command: Command, folder: Path) -> None:
    assert_refused(
        command("run", "e.yaml", "--out", "e.yaml"), "e.yaml: cannot write results here: file exists"
    )
    answer = command("run", "e.yaml", "--out", "e.yaml/below")
    assert_refused(answer, "e.yaml/below: cannot write results here: not a directory")


def test_is_a_folder_with_another_run_refused(command: Command, folder: Path) -> None:
    out = folder / "out"
    out.mkdir()
    manifest = {
        "format": "cortensim-run",
        "format_version": 2,
        "status": "complete",
        "experiment": {"name": "other"},
        "points": {"total": 3},
    }
    (out / "manifest.json").write_text(json.dumps(manifest))
    (out / "journal.jsonl").touch()
    answer = command("run", "e.yaml", "--out", "out")
    assert_refused(answer, "out: this folder holds a run of another experiment, 'other'")
    assert sorted(path.name for path in out.iterdir() if path.stat().st_size) == ["manifest.json"]


def test_is_a_folder_with_foreign_files_refused_and_left_alone(command: Command, folder: Path) -> None:
    (folder / "out").mkdir()
    (folder / "out/thesis.tex").touch()
    answer = command("run", "e.yaml", "--out", "out")
    assert_refused(
        answer, "out: this folder holds other files: choose an empty or new one (got 'thesis.tex')"
    )
    assert [path.name for path in (folder / "out").iterdir()] == ["thesis.tex"]


def test_are_the_faults_of_several_files_reported_at_once(command: Command, folder: Path) -> None:
    (folder / "f.yaml").write_text("name: f\n")
    (folder / "e.yaml").write_text(EXPERIMENT.replace("linux-6.13", "linux") + "sed: 5\n")
    answer = command("check", "./e.yaml", "./f.yaml")
    assert answer.code == 2
    assert [line.split(": ")[0] for line in answer.err.splitlines()][:2] == ["e.yaml:3:11", "e.yaml:7:1"]
    assert any(line.startswith("f.yaml") for line in answer.err.splitlines())
