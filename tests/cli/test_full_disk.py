"""A disk that is full or cannot be written: is the message clear, and what was finished still good?"""

from __future__ import annotations

import resource
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TABLES = ("points.csv", "breakdown.csv", "points.parquet")
RUN = [
    sys.executable,
    "-m",
    "sim",
    "run",
    "quickstart",
    "--threads",
    "1,2,3,4",
    "--workers",
    "1",
    "--no-plots",
]


def run(out: Path, *options: str, largest_file: int | None = None) -> subprocess.CompletedProcess[str]:
    def confine() -> None:
        if largest_file is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (largest_file, largest_file))

    return subprocess.run(
        [*RUN, "--out", str(out), *options], cwd=ROOT, preexec_fn=confine, capture_output=True, text=True
    )


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that nothing stopped; not to be changed."""
    out = tmp_path_factory.mktemp("whole")
    assert run(out).returncode == 0
    return out


@pytest.mark.parametrize(
    "room",
    [
        pytest.param(0, marks=pytest.mark.slow),
        pytest.param(100, marks=pytest.mark.slow),
        pytest.param(3000, marks=pytest.mark.slow),
    ],
)
def test_is_what_was_finished_kept_when_a_file_cannot_grow(tmp_path: Path, whole: Path, room: int) -> None:
    """The limit of a file's size stands for the end of the disk: the write stops within a record."""
    out = tmp_path / "run"
    shutil.copytree(whole, out)
    for name in TABLES:
        (out / name).unlink()
    manifest_size = (out / "manifest.json").stat().st_size
    journal = out / "journal.jsonl"
    kept = journal.read_bytes().splitlines(keepends=True)
    some = b""
    while len(some) < manifest_size:  # so that the manifest fits and the journal soon does not
        some += kept.pop(0)
    journal.write_bytes(some)
    stopped = run(out, "--resume", largest_file=len(some) + room)
    assert stopped.returncode == 1
    assert stopped.stderr.splitlines()[-1].endswith(
        "cannot write results: file too large; finished points are kept: continue with --resume"
    )
    assert "Traceback" not in stopped.stderr
    assert journal.stat().st_size == len(some) + room
    assert run(out, "--resume").returncode == 0
    for name in TABLES:
        assert (out / name).read_bytes() == (whole / name).read_bytes()


@pytest.mark.ci
def test_is_a_disk_that_is_full_from_the_start_one_message(tmp_path: Path) -> None:
    answer = run(tmp_path / "run", largest_file=0)
    assert answer.returncode == 2
    assert answer.stderr.splitlines() == [f"{tmp_path / 'run'}: cannot write results here: file too large"]


@pytest.mark.ci
def test_is_a_read_only_file_system_one_message(tmp_path: Path) -> None:
    """Mounted in a namespace of its own, where root cannot write either."""
    mount = f'mount --bind "{tmp_path}" "{tmp_path}" && mount -o remount,bind,ro "{tmp_path}"'
    if subprocess.run(["unshare", "-m", "sh", "-c", mount], capture_output=True).returncode:
        pytest.skip("needs the right to mount")
    command = f'{mount} && exec "$@"'
    answer = subprocess.run(
        ["unshare", "-m", "sh", "-c", command, "sh", *RUN, "--out", str(tmp_path / "run")],
        cwd=ROOT, capture_output=True, text=True,
    )  # fmt: skip
    assert answer.returncode == 2
    assert answer.stderr.splitlines() == [
        f"{tmp_path / 'run'}: cannot write results here: read-only file system"
    ]
