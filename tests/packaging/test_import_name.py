"""Is `cortensim` the same package as `sim`, whichever name a module is imported by first?"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import sim

ROOT = Path(__file__).parents[2]


def python(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *arguments], cwd=ROOT, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    "first",
    [
        "import cortensim.analysis.figures, sim.analysis.figures",
        "import sim.analysis.figures, cortensim.analysis.figures",
    ],
)
@pytest.mark.ci
def test_is_there_one_module_object(first: str) -> None:
    done = python(
        "-c",
        f"{first}\n"
        "import sys, cortensim, sim\n"
        "from cortensim.errors import Fault\n"
        "from cortensim import mm\n"
        "assert cortensim is sim\n"
        "assert cortensim.analysis is sim.analysis is sys.modules['cortensim.analysis']\n"
        "assert sys.modules['cortensim.analysis.figures'] is sim.analysis.figures\n"
        "assert Fault is sim.errors.Fault and mm is sim.mm\n"
        "figures = sim.analysis.figures\n"
        "assert figures.__name__ == figures.__spec__.name == 'sim.analysis.figures'\n"
        "assert cortensim.load is sim.load\n",
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_what_if_there_is_no_such_module() -> None:
    done = python(
        "-c", "import importlib.util as u; print(u.find_spec('cortensim.nope')); import cortensim.nope"
    )
    assert done.stdout == "None\n"
    assert "ModuleNotFoundError: No module named 'cortensim.nope'" in done.stderr


def test_is_importing_it_as_cheap_as_importing_sim() -> None:
    done = python("-c", "import sys, cortensim; print({'numpy', 'pydantic', 'simpy'} & set(sys.modules))")
    assert done.stdout == "set()\n"


def test_does_it_run_as_a_module() -> None:
    done = python("-m", "cortensim", "list", "designs")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == python("-m", "sim", "list", "designs").stdout


@pytest.mark.slow
def test_does_a_type_checker_see_what_sim_offers(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "import cortensim\n" + "".join(f"reveal_type(cortensim.{name})\n" for name in sim.__all__)
    )
    done = python(
        "-m", "mypy", "--config-file=", f"--cache-dir={tmp_path}", "--follow-imports=silent", str(script)
    )
    assert done.returncode == 0, done.stdout
    assert "Any" not in done.stdout.partition("Success")[0].replace("dict[builtins.str, Any]", ""), (
        done.stdout
    )
