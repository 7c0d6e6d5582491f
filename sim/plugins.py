"""Packages that add designs, as the entry points `cortensim.designs` announce them. None is imported here.

    [project.entry-points."cortensim.designs"]
    radixvm = "my_package:FAMILY"          # the name is the design family's

Such a package may carry presets in folders of its top-level package: `designs/`, `machines/`, `workloads/`
and `experiments/`, with a YAML file each. Its files are part of the identity of every point that runs its
design.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cache, cached_property
from importlib.machinery import ModuleSpec
from importlib.metadata import EntryPoint, entry_points
from importlib.util import find_spec
from pathlib import Path, PurePosixPath

GROUP = "cortensim.designs"
_NO_SOURCE = (".pyc", ".pyo", ".pth")
_EDITABLE = "__editable__"
"""How the files of an editable install begin that hold paths of one machine."""


@dataclass(frozen=True)
class Plugin:
    """One entry point."""

    entry: EntryPoint

    @property
    def name(self) -> str:
        """The design family that it brings."""
        return self.entry.name

    @property
    def distribution(self) -> str:
        """What was installed, as `NAME VERSION`."""
        return f"{self.package} {self.version}"

    @property
    def package(self) -> str:
        return self.entry.dist.name if self.entry.dist else "a package without metadata"

    @property
    def version(self) -> str:
        return self.entry.dist.version if self.entry.dist else "unknown"

    @property
    def announced(self) -> str:
        """The entry point in words, for messages."""
        return f"entry point {self.name!r} = {self.entry.value!r} of {self.distribution}"

    def folder(self, name: str) -> Path | None:
        """The folder *name* in the top-level package, if it is there."""
        return next((path for root in self._packages for path in [root / name] if path.is_dir()), None)

    @cached_property
    def digest(self) -> str:
        """sha256 of the package's own files, by their names under the folder that they are installed in.

        These are the files that the distribution installed and, because an editable install names none of
        them, those of the module or package that the entry point names.
        """
        digest = hashlib.sha256()
        for name, path in sorted(self._files().items()):
            digest.update(name.encode() + b"\0" + path.read_bytes() + b"\0")
        return digest.hexdigest()

    def _files(self) -> dict[str, Path]:
        files = self.entry.dist.files if self.entry.dist else None
        found = {
            PurePosixPath(file).as_posix(): Path(str(file.locate()))
            for file in files or ()
            if not file.parts[0].endswith((".dist-info", ".egg-info"))
        }
        spec = _spec(self.entry.module)
        name = spec.name.replace(".", "/") if spec else ""
        for root in self._packages:
            found |= {f"{name}/{path.relative_to(root).as_posix()}": path for path in root.rglob("*")}
        if spec and spec.origin and not self._packages:
            found[f"{name}.py"] = Path(spec.origin)
        return {name: path for name, path in found.items() if _is_own(name) and path.is_file()}

    @property
    def _packages(self) -> list[Path]:
        """The folder of the top-level package; none if that is a single module, or missing."""
        spec = _spec(self.entry.module)
        return [Path(path) for path in (spec.submodule_search_locations if spec else None) or ()]


@cache
def installed() -> tuple[Plugin, ...]:
    """Every plug-in of this environment, by name and then by distribution."""
    found = (Plugin(entry) for entry in entry_points(group=GROUP))
    return tuple(sorted(found, key=lambda plugin: (plugin.name, plugin.distribution, plugin.entry.value)))


def named(family: str) -> list[Plugin]:
    """The plug-ins that claim to bring *family*: more than one is a conflict."""
    return [plugin for plugin in installed() if plugin.name == family]


@cache
def _spec(module: str) -> ModuleSpec | None:
    """Where the top-level package of *module* is, below namespaces that others share; it is not imported."""
    parts = module.split(".")
    try:
        found = (find_spec(".".join(parts[: depth + 1])) for depth in range(len(parts)))
        return next((spec for spec in found if spec is None or spec.origin is not None), None)
    except (ImportError, ValueError):
        return None


def _is_own(name: str) -> bool:
    """Whether a file belongs to the package rather than to its installation."""
    parts = PurePosixPath(name).parts
    hidden = any(part.startswith(".") or part == "__pycache__" for part in parts)
    return not hidden and not parts[0].startswith(_EDITABLE) and not name.endswith(_NO_SOURCE)
