"""Which one runs: the model as it is written, or the same modules compiled.

Compiled modules (mypyc; `tools/compile_model.py` makes them) lie in `sim/_compiled/TAG`, a folder for each
kind of Python, with a list of the sources that they were made from. They run only if every one of those
sources is what it was: one that was edited since makes all of them stale, and the model is interpreted.

Results are the same to the byte. `CORTENSIM_COMPILED=0` chooses the interpreter; with `1` it is an error if
the compiled modules cannot run.
"""

from __future__ import annotations

import json
import os
import sys
import sysconfig
import zlib
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ExtensionFileLoader, ModuleSpec
from importlib.util import spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Final

SWITCH: Final = "CORTENSIM_COMPILED"
"""The variable of the environment: `0` for the interpreter, `1` for nothing else than compiled modules."""
PACKAGE: Final = Path(__file__).parent
FOLDER: Final = PACKAGE / "_compiled" / str(sysconfig.get_config_var("SOABI"))
LIST: Final = "modules.json"
"""In FOLDER: source -> its checksum, and module -> the file it was compiled to."""

_reason = "nothing has asked yet"


def checksum(source: Path) -> int:
    """What tells an edited *source* from the one that was compiled."""
    return zlib.crc32(source.read_bytes())


class Finder(MetaPathFinder):
    """Finds *files*: module -> what it was compiled to."""

    def __init__(self, files: dict[str, Path]) -> None:
        self.files = files

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        file = self.files.get(fullname)
        if file is None:
            return None
        return spec_from_file_location(fullname, file, loader=ExtensionFileLoader(fullname, str(file)))


def use() -> None:
    """From now on import compiled modules, if there are any that may run here."""
    global _reason
    _reason = why_not(FOLDER)
    if _reason and os.environ.get(SWITCH) == "1":
        raise ImportError(f"{SWITCH}=1, but the model would be interpreted: {_reason}")
    if _reason:
        return
    listed = json.loads((FOLDER / LIST).read_text())
    sys.meta_path.insert(0, Finder({name: FOLDER / file for name, file in listed["modules"].items()}))


def why_not(folder: Path) -> str:
    """Why the modules in *folder* may not run; empty if they may."""
    if os.environ.get(SWITCH) == "0":
        return f"{SWITCH}=0"
    try:
        listed = json.loads((folder / LIST).read_text())
    except OSError:
        return "not compiled for this Python"
    for source, known in listed["sources"].items():
        try:
            stale = checksum(PACKAGE / source) != known
        except OSError:
            stale = True
        if stale:
            return f"sim/{source} has changed since it was compiled"
    return ""


def words() -> str:
    """Which one runs, and why it is not the compiled one."""
    return f"interpreted model: {_reason}" if _reason else "compiled model"
