"""Packages that add designs or parts of them, as their entry points announce them.

    [project.entry-points."cortensim.designs"]
    radixvm = "my_package:FAMILY"          # the name is the design family's

    [project.entry-points."cortensim.vma_locks"]
    seqcount = "my_package:SeqCountLocks"  # the name is what Linux's design files write

    [project.entry-points."cortensim.vma_indexes"]
    skiplist = "my_package:SkipList"       # the same

A package is imported when somebody uses what it brings and not before, so one that is broken harms nobody
else. It may carry presets in folders of its top-level package: `designs/`, `machines/`, `workloads/` and
`experiments/`, with a YAML file each. Its files are part of the identity of every point that uses it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from importlib.machinery import ModuleSpec
from importlib.metadata import EntryPoint, entry_points
from importlib.util import find_spec
from pathlib import Path, PurePosixPath
from typing import Final, Generic, NamedTuple, TypeVar, cast

from sim.errors import Fault, InputError

GROUPS: Final = {
    "cortensim.designs": "family",
    "cortensim.vma_indexes": "vma_index",
    "cortensim.vma_locks": "vma_lock",
}
"""Groups of entry points, and the key of design files whose values they add."""

_NO_SOURCE = (".pyc", ".pyo", ".pth")
_EDITABLE = "__editable__"
"""How the files of an editable install begin that hold paths of one machine."""


@dataclass(frozen=True)
class Plugin:
    """One entry point."""

    entry: EntryPoint

    @property
    def group(self) -> str:
        """One of `GROUPS`."""
        return self.entry.group

    @property
    def name(self) -> str:
        """The name of what it brings."""
        return self.entry.name

    @property
    def brings(self) -> str:
        """What it brings, in the words of a design file: `family toy`."""
        return f"{GROUPS[self.group]} {self.name}"

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


class Part(NamedTuple):
    """Something that a design is made of, by the group that it may come from and its name there."""

    group: str
    name: str

    @property
    def plugin(self) -> Plugin | None:
        """The plug-in that it comes from, if it has to: one that is on board never does."""
        return next(iter(named(self.group, self.name)), None)


T = TypeVar("T")


class Registry(Generic[T]):
    """What a key of design files may say: what is on board, and what outside packages add.

    *flaw* says what is wrong with the thing that an entry point names, if so.
    """

    def __init__(self, group: str, on_board: Mapping[str, T], flaw: Callable[[str, object], str | None]):
        self.group = group
        self.key = GROUPS[group]
        self._on_board = on_board
        self._flaw = flaw

    def names(self) -> list[str]:
        """All names, sorted, whether or not a plug-in's can be imported."""
        return sorted({*self._on_board, *(plugin.name for plugin in installed(self.group))})

    def part(self, name: str) -> Part | None:
        """What of a design comes from outside, if this does."""
        return None if name in self._on_board else Part(self.group, name)

    def refusal(self, plugin: Plugin) -> str | None:
        """Why *plugin* cannot be used, if so. Imports it."""
        if plugin.name in self._on_board:
            return f"the {self.key} {plugin.name!r} is on board: a plug-in needs another name"
        rivals = [other.distribution for other in named(self.group, plugin.name) if other is not plugin]
        if rivals:
            return f"{', '.join(rivals)} brings a {self.key} {plugin.name!r} too: one of them has to go"
        thing, error = _loaded(plugin)
        return error or self._flaw(plugin.name, thing)

    def __getitem__(self, name: str) -> T:
        """What *name* means. Raises `KeyError` for no name of ours, `InputError` for an unusable plug-in."""
        if name in self._on_board:
            return self._on_board[name]
        plugin = Part(self.group, name).plugin
        if plugin is None:
            raise KeyError(name)
        reason = self.refusal(plugin)
        if reason is not None:
            words = f"this plug-in cannot be used: {plugin.announced}: {reason}"
            raise InputError(Fault(words, value=name))
        return cast(T, _loaded(plugin)[0])


@cache
def installed(group: str | None = None) -> tuple[Plugin, ...]:
    """Every plug-in of this environment, of one *group* or of all, by name and then by distribution."""
    if group is not None:
        return tuple(plugin for plugin in installed() if plugin.entry.group == group)
    announced = entry_points()  # of all distributions at once: to read them is what takes time
    found: list[Plugin] = []
    for each in GROUPS:
        plugins = map(Plugin, announced.select(group=each))
        found += sorted(plugins, key=lambda plugin: (plugin.name, plugin.distribution, plugin.entry.value))
    return tuple(found)


def named(group: str, name: str) -> list[Plugin]:
    """The plug-ins that claim to bring *name*: more than one is a conflict."""
    return [plugin for plugin in installed(group) if plugin.name == name]


@cache
def _loaded(plugin: Plugin) -> tuple[object, str | None]:
    """What the entry point names, and why it could not be loaded."""
    try:
        return plugin.entry.load(), None
    except (Exception, SystemExit) as error:  # whatever a stranger's module raises when it is imported
        return None, f"{type(error).__name__}: {' '.join(str(error).split())}"


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
