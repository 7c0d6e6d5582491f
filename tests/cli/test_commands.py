"""What does each command do?"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from answers import Answer, Command

from sim.files import KINDS, presets

ROOT = Path(__file__).parents[2]
SIM = [sys.executable, "-m", "sim"]
PRESETS = [(kind, name) for kind in KINDS for name in presets.names(kind)]


def test_does_help_load_nothing_heavy() -> None:
    code = (
        "import sys\nfrom sim.cli import main\n"
        "try: main(['--help'])\nexcept SystemExit: pass\n"
        "heavy = {'pydantic', 'yaml', 'rich', 'numpy', 'pandas', 'simpy', 'matplotlib', 'pyarrow'}\n"
        "print('loaded:', sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert done.stdout.splitlines()[-1] == "loaded: []"
    assert all(
        f"\n    {verb} " in done.stdout for verb in ("run", "list", "show", "check", "validate", "plot")
    )


def test_does_it_know_its_version(command: Command) -> None:
    answer = command("--version")
    assert answer.code == 0
    assert answer.out.startswith("cortensim ")


@pytest.mark.parametrize("kind", KINDS)
def test_does_list_name_every_preset(command: Command, kind: str) -> None:
    answer = command("list", f"{kind}s")
    assert answer.code == 0
    files = presets.files_of(kind)  # type: ignore[arg-type]
    by_folder = sorted(files, key=lambda name: (presets.group(kind, files[name][0]), name))  # type: ignore[arg-type]
    assert [line.split()[0] for line in answer.out.splitlines()[1:]] == by_folder


@pytest.mark.parametrize(("kind", "name"), PRESETS)
@pytest.mark.ci
def test_is_every_preset_sound(command: Command, kind: str, name: str) -> None:
    (path,) = presets.files_of(kind)[name]  # type: ignore[arg-type]
    assert command("check", path) == Answer(0, f"{path}: {kind} {name} is fine\n", "")


def test_does_show_give_values_their_origins_and_draw_the_machine(command: Command) -> None:
    answer = command("show", "epyc-9965-guest")
    assert answer.code == 0
    for part in (
        "machine epyc-9965-guest",
        "socket 1",
        "[ 16- 31]",
        "[368-383]",
        "384 cpus = 2 sockets x 12 clusters x 16 cores",
        "the kernel sees 1 NUMA node",
        "coherence.same_cluster",
    ):
        assert part in answer.out
    (line,) = [line for line in answer.out.splitlines() if line.startswith("coherence.same_cluster")]
    assert line.split()[1:6] == ["49", "ns", "derived", "VM", "43"]


@pytest.mark.parametrize(
    ("machine", "distances"),
    [
        (
            "epyc-9965-guest",
            "a cache line of another core of the cluster 49 ns; "
            "of another cluster 150 ns (240 ns if its home is the other socket); of another socket 240 ns; "
            "memory of the socket 146 ns; of another socket 246 ns",
        ),
        ("desktop-8", "a cache line of another core of the cluster 20 ns; memory of the socket 80 ns"),
        (
            "xeon-e7-8870x8",
            "a cache line of another core of the cluster 41.25 ns; "
            "of another socket 152 ns (202 ns if its home is a third socket), "
            "1.46 times that when several ask; "
            "memory of the socket 167 ns; of another socket 282 ns",
        ),
    ],
)
def test_does_show_give_the_distances_that_the_machine_has(
    command: Command, machine: str, distances: str
) -> None:
    rows = [" ".join(line.split()) for line in command("show", machine).out.splitlines()]
    first = next(number for number, row in enumerate(rows) if row.startswith("a cache line"))
    assert "; ".join(rows[first : rows.index("", first)]) == distances


@pytest.mark.parametrize(("kind", "name"), PRESETS)
def test_can_every_preset_be_shown(command: Command, kind: str, name: str) -> None:
    answer = command("show", name)
    assert answer.code == 0
    assert f"{kind} {name}" in answer.out


def test_does_check_tell_the_kind_of_a_file_anywhere(command: Command, folder: Path) -> None:
    (folder / "m.yaml").write_text("name: m\ninherits: epyc-9965\n")
    assert (
        command("check", "m.yaml", "e.yaml").out
        == "m.yaml: machine m is fine\ne.yaml: experiment e is fine\n"
    )


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        (
            "family: bench\nspaces: {pages: 1}\nrounds: 4\nroles: [{who: all, steps: [{touch: {}}]}]\n",
            "workload",
        ),
        ("family: bench\nflush: {method: ipi, concurrent: true, asids: 6}\n", "design"),
        ("title: a box\ninherits: ./parent.yaml\n", "machine"),
        ("include: part.yaml\nthreads: [1]\n", "experiment"),
    ],
)
def test_is_a_file_what_its_keys_say(command: Command, folder: Path, text: str, kind: str) -> None:
    """Also in a folder whose name is that of another kind, and where only a parent's keys tell."""
    place = folder / "designs"
    place.mkdir()
    (place / "x.yaml").write_text("name: x\n" + ("" if "title" in text else "title: x\n") + text)
    (place / "parent.yaml").write_text("name: parent\ninherits: epyc-9965\n")
    (place / "part.yaml").write_text("machine: epyc-9965\ndesigns: [linux-6.13]\nworkloads: [mmap]\n")
    answer = command("check", "designs/x.yaml")
    assert answer.out == f"designs/x.yaml: {kind} x is fine\n", answer.err


def test_what_does_a_run_say_and_leave(command: Command, folder: Path) -> None:
    answer = command("run", "e.yaml", "--workers", "1")
    assert answer.code == 0, answer.err
    assert "operations completed per µs at 2 threads" in answer.out
    assert "tables: results/e/points.csv" in answer.out
    assert "figure: results/e/plots/" in answer.out
    assert answer.err.splitlines()[-1].startswith("4/4 points")
    points = pd.read_csv("results/e/points.csv")
    assert list(points["status"]) == ["ok"] * 4
    assert list(points["threads"]) == [1, 2, 1, 2]
    assert any(Path("results/e/plots").iterdir())


def test_do_options_change_what_is_run(command: Command, folder: Path) -> None:
    answer = command(
        "run", "e.yaml", "--threads", "3", "--set", "design=cortenmm-adv", "--set", "seed=9", "--no-plots",
        "--out", "elsewhere/run", "--workers", "1",
    )  # fmt: skip
    assert answer.code == 0, answer.err
    points = pd.read_csv("elsewhere/run/points.csv")
    assert list(zip(points["design"], points["threads"], strict=True)) == [("cortenmm-adv", 3)]
    assert not Path("elsewhere/run/plots").exists()


def test_does_a_run_refuse_its_own_folder_unless_it_resumes(command: Command, folder: Path) -> None:
    arguments = ("run", "e.yaml", "--threads", "1", "--no-plots", "--workers", "1")
    assert command(*arguments).code == 0
    before = Path("results/e/points.csv").read_bytes()
    refused = command(*arguments)
    assert (refused.code, len(refused.err.splitlines())) == (2, 1)
    assert "results/e: this folder holds a run of this experiment already (complete, 2 points)" in refused.err
    resumed = command(*arguments, "--resume")
    assert resumed.code == 0
    assert "2/2 points, 2 kept" in resumed.err
    assert Path("results/e/points.csv").read_bytes() == before


def test_is_a_failed_point_a_row_and_exit_code_1(command: Command, folder: Path) -> None:
    answer = command("run", "e.yaml", "--set", "budget.events=10", "--workers", "1")
    assert answer.code == 1
    assert "4 of 4 points failed; the first: BudgetExceeded" in answer.err.splitlines()[-1]
    assert set(pd.read_csv("results/e/points.csv")["status"]) == {"failed"}


@pytest.mark.ci
def test_does_plot_draw_a_run_again(command: Command, folder: Path) -> None:
    assert command("run", "e.yaml", "--no-plots", "--workers", "1").code == 0
    answer = command("plot", "e", "--out", "drawn")
    assert answer.code == 0
    assert all(Path(line).stat().st_size > 1000 for line in answer.out.splitlines())


def test_is_a_closed_pipe_quiet() -> None:
    with subprocess.Popen(
        [*SIM, "show", "epyc-9965-guest"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=ROOT
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == b""
