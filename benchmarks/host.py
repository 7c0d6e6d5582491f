"""On what was measured: the machine, the interpreter, the libraries, and whether the model ran compiled."""

from __future__ import annotations

import os
import platform
import re
import subprocess
from importlib.machinery import EXTENSION_SUFFIXES
from importlib.metadata import version
from pathlib import Path
from types import ModuleType

import sim.engine.core
from benchmarks import native


def mode(module: ModuleType = sim.engine.core) -> str:
    """`compiled` where *module* was made machine code, else `interpreted`."""
    compiled = str(module.__file__).endswith(tuple(EXTENSION_SUFFIXES))
    return "compiled" if compiled else "interpreted"


def interpreter() -> str:
    """The implementation and its minor version: `CPython 3.11`."""
    return f"{platform.python_implementation()} {'.'.join(platform.python_version_tuple()[:2])}"


def describe() -> str:
    """All in one line, for the table."""
    compiler = native.compiler()
    return ", ".join(
        [
            f"{_processor()} with {len(os.sched_getaffinity(0))} cpus",
            f"{platform.python_implementation()} {platform.python_version()}",
            f"SimPy {version('simpy')}",
            f"salabim {version('salabim')}",
            f"{Path(compiler).name} {_release(compiler)}" if compiler else "no C++ compiler",
            f"the model {mode()}",
        ]
    )


def _processor() -> str:
    found = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(encoding="utf-8"), re.M)
    return found[1].strip() if found else platform.machine()


def _release(compiler: str) -> str:
    done = subprocess.run([compiler, "-dumpfullversion", "-dumpversion"], capture_output=True, text=True)
    return done.stdout.strip() or "of an unknown version"
