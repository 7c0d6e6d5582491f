"""Is what looks like a file, and is none, refused at once wherever a file is read?"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from answers import EXPERIMENT

from sim.errors import InputError
from sim.experiment import load

SAYS = {
    "pipe": "this is a pipe, not a file",
    "link loop": "cannot read the file: too many levels of symbolic links",
    "socket": "this is a socket, not a file",
    "device": "this is a device, not a file",
    "folder": "this is a directory, not a file",
}


def make(kind: str, path: Path) -> None:
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "link loop":
        path.symlink_to(path.name)
    elif kind == "socket":
        with socket.socket(socket.AF_UNIX) as made:
            made.bind(path.name)  # the whole path may be too long for a socket
    elif kind == "device":
        path.symlink_to("/dev/zero")
    else:
        path.mkdir()


COMMANDS = (
    ("check", "./odd.yaml"),
    ("run", "./odd.yaml"),
    ("show", "./odd.yaml"),
    ("check", "machine.yaml"),
    ("run", "e.yaml", "--set", "machine=./odd.yaml"),
    ("validate", "--data", "./odd.yaml"),
    ("import", "will-it-scale", "./odd.yaml"),
    ("import", "lkp", "./odd.yaml"),
)


@pytest.mark.parametrize("kind", SAYS)
@pytest.mark.slow
def test_is_it_one_message_and_no_hang(kind: str, folder: Path) -> None:
    """In one process for each kind, with a clock: a hang would be one in `open`."""
    make(kind, folder / "odd.yaml")
    (folder / "machine.yaml").write_text("name: machine\ninherits: ./odd.yaml\n")
    script = "from sim.cli import main\n" + "".join(f"assert main({list(c)}) == 2\n" for c in COMMANDS)
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stderr.splitlines() == [f"odd.yaml: {SAYS[kind]}"] * len(COMMANDS)


def test_is_a_nul_in_a_path_one_message(folder: Path) -> None:
    for old, new in (("name: e", 'include: "a\\0b.yaml"\nname: e'), ("epyc-9965-guest", '"./a\\0b.yaml"')):
        (folder / "e.yaml").write_text(EXPERIMENT.replace(old, new))
        with pytest.raises(InputError, match=r"embedded null|leaves the folder"):
            load("./e.yaml")
