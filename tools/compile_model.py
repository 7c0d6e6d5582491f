"""Compile the model: `python -m tools.compile_model`. It takes minutes, once after each change of it.

mypyc turns the modules of the model into C, a C compiler into libraries; `sim.compiled` says when they run.
What it cannot compile stays as it is and works with the rest:

* pydantic's classes, whose modules hold nothing else of the model's;
* what listens (`Probe` and the cpus that tell of charges), which is made of methods put in at run time;
* workloads, whose steps are closures made from files.

Without a compiler, or without mypy, it says so and exits with 0: the model runs as it is. `--strict` makes
that an error.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import sys
import sysconfig
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).parents[1]
if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))

from sim.compiled import FOLDER, LIST, checksum, why_not  # noqa: E402

PARTS = ("engine", "hardware", "sync", "mm", "designs")
INTERPRETED = frozenset(
    {
        "engine/costs.py",  # makes classes from specs
        "engine/pages.py",
        "engine/probe.py",
        "hardware/ahead.py",
        "hardware/heard_cpu.py",
        "mm/calls.py",  # records, with names that are class variables
        "mm/exmap_calls.py",
        "mm/objects.py",
        "mm/operations.py",
        "sync/without.py",
    }
)
LEVEL = "1"
"""Of the C compiler's optimisation, unless `--level` says another one."""
HOT = re.compile(r"__native_sim___(engine|hardware)___|_ops\.c$")
"""C files that every event passes through, and those of mypyc itself: optimised fully at level 1."""


def modules(root: Path) -> list[str]:
    """The sources to compile, relative to *root*/sim."""
    found = []
    for part in PARTS:
        for path in sorted((root / "sim" / part).rglob("*.py")):
            name = str(path.relative_to(root / "sim"))
            if path.name != "__init__.py" and name not in INTERPRETED and not _has_specs(path):
                found.append(name)
    return found


def _has_specs(path: Path) -> bool:
    """Whether the module defines pydantic's classes."""
    found = re.search(r"^(from|import) pydantic|^class \w+\(.*Spec\b", path.read_text(), re.MULTILINE)
    return found is not None


def generate(root: Path, names: Sequence[str], work: Path, level: str) -> list[object]:
    """C from the sources, in *work*; value: setuptools' extensions."""
    from mypyc.build import mypycify

    here = Path.cwd()
    os.chdir(root)
    try:
        extensions = mypycify(
            ["--config-file", "pyproject.toml", *(f"sim/{name}" for name in names)],
            multi_file=True,
            opt_level=level,
            debug_level="0",
            target_dir=str(work),
            group_name="cortensim_model",
        )
    finally:
        os.chdir(here)
    return extensions


def build(root: Path, folder: Path, level: str = LEVEL) -> None:
    """Compile the model in *root*/sim into *folder*."""
    from setuptools._distutils.ccompiler import new_compiler
    from setuptools._distutils.sysconfig import customize_compiler

    names = modules(root)
    # Before any is read: what is edited meanwhile counts as changed.
    sources = {name: checksum(root / "sim" / name) for name in names}
    with tempfile.TemporaryDirectory() as scratch:
        work = Path(scratch)
        extensions = generate(root, names, work, level)
        compiler = new_compiler()
        customize_compiler(compiler)
        suffix = sysconfig.get_config_var("EXT_SUFFIX")
        include = [sysconfig.get_paths()["include"]]
        files: dict[str, str] = {}

        def one(source: str, extension: object) -> str:
            more = ["-O3"] if level == LEVEL and HOT.search(source) else []
            done = compiler.compile(
                [source],
                output_dir=str(work / "objects"),
                include_dirs=[*extension.include_dirs, *include],
                extra_postargs=[*extension.extra_compile_args, "-Wno-error", *more],
            )
            return done[0]

        with ThreadPoolExecutor(os.cpu_count()) as pool:
            jobs = [
                (extension, [pool.submit(one, source, extension) for source in extension.sources])
                for extension in sorted(extensions, key=lambda each: -len(each.sources))
            ]
            out = work / "out"
            for extension, objects in jobs:
                file = extension.name.replace(".", "/") + suffix
                target = out / file
                target.parent.mkdir(parents=True, exist_ok=True)
                compiler.link_shared_object([each.result() for each in objects], str(target))
                files[extension.name] = file
        (out / LIST).write_text(json.dumps({"modules": files, "sources": sources}))
        shutil.rmtree(folder, ignore_errors=True)
        folder.parent.mkdir(parents=True, exist_ok=True)
        shutil.move(str(out), str(folder))


def missing() -> str:
    """What is not there to compile with; empty if all is."""
    try:
        import mypyc  # noqa: F401
        import setuptools  # noqa: F401
    except ImportError as error:
        return f"no {error.name}"
    compiler = (sysconfig.get_config_var("CC") or "cc").split()[0]
    if shutil.which(compiler) is None:
        return f"no C compiler ({compiler})"
    if not (Path(sysconfig.get_paths()["include"]) / "Python.h").exists():
        return "no Python.h"
    return ""


def main(arguments: Sequence[str] | None = None) -> int:
    options = argparse.ArgumentParser(description="Compile the model, if it is not compiled already.")
    options.add_argument("--strict", action="store_true", help="fail where it cannot be compiled")
    options.add_argument(
        "--possible", action="store_true", help="say only whether it can be compiled (exit code 0)"
    )
    options.add_argument("--level", default=LEVEL, choices="0123", help="of the C compiler's optimisation")
    asked = options.parse_args(arguments)
    if asked.possible:
        return int(bool(missing()))
    if _is_fresh():
        return 0
    lacking = missing()
    if lacking:
        print(f"cortensim: the model stays interpreted: {lacking}", file=sys.stderr)
        return int(asked.strict)
    began = time.monotonic()
    print("cortensim: compiling the model, once; this takes minutes", file=sys.stderr)
    try:
        build(ROOT, FOLDER, asked.level)
    except (Exception, SystemExit) as error:
        print(f"cortensim: the model stays interpreted: {error}", file=sys.stderr)
        return int(asked.strict)
    print(f"cortensim: compiled in {time.monotonic() - began:.0f} s", file=sys.stderr)
    return 0


def _is_fresh() -> bool:
    """Whether the model that would run now is compiled already."""
    return not why_not(FOLDER)


if __name__ == "__main__":
    sys.exit(main())
