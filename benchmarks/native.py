"""C++ programs beside the simulator, built where a compiler is."""

from __future__ import annotations

import shutil
import subprocess
from functools import cache
from pathlib import Path
from typing import Final

SOURCES: Final = Path(__file__).parent / "cpp"


@cache
def compiler() -> str | None:
    """The C++ compiler on PATH, if there is one."""
    return shutil.which("g++") or shutil.which("clang++")


def build(name: str, folder: Path, *options: str) -> Path | None:
    """The program made of `cpp/NAME.cpp` in *folder*; None without a compiler that can make it."""
    if (found := compiler()) is None:
        return None
    made = folder / name
    command = [found, "-std=c++20", "-O3", *options, "-o", str(made), str(SOURCES / f"{name}.cpp")]
    return made if subprocess.run(command, capture_output=True).returncode == 0 else None
