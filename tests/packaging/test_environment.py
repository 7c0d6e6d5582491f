"""Is .venv brought up to date when it has to be, and left alone otherwise?

With a pip that only notes what it is asked for.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PIP = """\
import pathlib, sys
with pathlib.Path(sys.prefix, 'asked').open('a') as log:
    print(*sys.argv[1:], file=log)
"""


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A copy of what the script needs, with a .venv that nothing is installed in."""
    (tmp_path / ".ci").mkdir()
    shutil.copy(ROOT / ".ci/environment", tmp_path / ".ci")
    shutil.copytree(ROOT / "requirements", tmp_path / "requirements")
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    venv.create(tmp_path / ".venv", with_pip=False)
    paths = {"base": str(tmp_path / ".venv"), "platbase": str(tmp_path / ".venv")}
    pip = Path(sysconfig.get_path("purelib", "venv", paths)) / "pip"
    pip.mkdir()
    (pip / "__init__.py").touch()
    (pip / "__main__.py").write_text(PIP)
    return tmp_path


def bring_up_to_date(checkout: Path, wanted: str, **variables: str) -> tuple[int, str, list[str]]:
    """Exit code, what was said, and what pip was asked to install."""
    asked = checkout / ".venv/asked"
    asked.unlink(missing_ok=True)
    done = subprocess.run(
        [checkout / ".ci/environment", wanted],
        env={**{key: value for key, value in os.environ.items() if key != "PYTHON"}, **variables},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    lines = asked.read_text().splitlines() if asked.exists() else []
    return done.returncode, done.stderr, [line for line in lines if line.startswith("install")]


def test_is_what_is_locked_installed_once(checkout: Path) -> None:
    code, said, asked = bring_up_to_date(checkout, "run")
    assert code == 0
    assert [line.split(":")[0] for line in said.splitlines()] == ["cortensim"] * 2
    assert f"packages of requirements/run.txt into .venv (Python {sys.version.split()[0]})" in said
    packages, program = asked
    assert "--require-hashes --requirement requirements/run.txt" in packages
    assert "--no-build-isolation --editable ." in program
    assert bring_up_to_date(checkout, "run") == (0, "", [])


def test_does_what_the_tests_need_cover_what_the_program_needs(checkout: Path) -> None:
    bring_up_to_date(checkout, "run")
    assert len(bring_up_to_date(checkout, "test")[2]) == 2
    assert bring_up_to_date(checkout, "run") == (0, "", [])
    assert bring_up_to_date(checkout, "test") == (0, "", [])


@pytest.mark.parametrize("changed", ["requirements/run.txt", "pyproject.toml"])
def test_is_an_environment_of_another_lock_brought_up_to_date(checkout: Path, changed: str) -> None:
    bring_up_to_date(checkout, "run")
    with (checkout / changed).open("a") as file:
        file.write("# changed\n")
    assert len(bring_up_to_date(checkout, "run")[2]) == 2
    assert bring_up_to_date(checkout, "run") == (0, "", [])


def test_is_an_installation_that_failed_tried_again(checkout: Path) -> None:
    [main] = (checkout / ".venv").glob("lib/python*/site-packages/pip/__main__.py")
    main.write_text(PIP + "sys.exit('install' in sys.argv)\n")
    assert bring_up_to_date(checkout, "run")[0] == 1
    main.write_text(PIP)
    assert len(bring_up_to_date(checkout, "run")[2]) == 2


def test_is_an_environment_of_another_python_made_anew(checkout: Path) -> None:
    other = checkout / "other-python"
    other.write_text('#!/bin/sh\n[ "$1" = -c ] && echo 3.99.0 || echo "$@" > venv-was-asked\n')
    other.chmod(0o755)
    bring_up_to_date(checkout, "run")
    assert (
        "making the environment .venv (Python 3.99.0)"
        in bring_up_to_date(checkout, "run", PYTHON=str(other))[1]
    )
    assert (checkout / "venv-was-asked").read_text() == "-m venv --clear .venv\n"
    assert bring_up_to_date(checkout, "run", PYTHON=sys.executable) == (0, "", [])


@pytest.mark.parametrize("says", ["echo 3.10.2; exit 1", "exit 127"])
def test_is_a_python_that_is_too_old_one_message(checkout: Path, says: str) -> None:
    other = checkout / "other-python"
    other.write_text(f"#!/bin/sh\n{says}\n")
    other.chmod(0o755)
    code, said, _ = bring_up_to_date(checkout, "run", PYTHON=str(other))
    assert (code, len(said.splitlines())) == (2, 1)
    assert said.startswith("cortensim: Python 3.11 or newer is needed: PYTHON=")
