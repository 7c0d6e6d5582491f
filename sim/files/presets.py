"""Where the machine, design, workload and experiment files are.

A file is named by its stem (`epyc-9965-guest`) if it is one of the presets, or by a path (anything with a
`/` or ending in `.yaml`). Presets come with the package; in a checkout they are the folders at its root, and
those below them: a folder is a group for people, and a name means one file whatever folder that lies in.
Plug-ins bring more (see `sim.plugins`); a name that is on board stays what it is, whatever is installed.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib.resources import files
from os.path import isfile
from pathlib import Path
from typing import Literal, get_args

from sim import plugins
from sim.errors import Fault, nearest

Kind = Literal["machine", "design", "workload", "experiment"]
KINDS: tuple[Kind, ...] = get_args(Kind)

_FOLDERS: dict[Kind, str] = {
    "machine": "configs/machines",
    "design": "configs/designs",
    "workload": "workloads",
    "experiment": "configs/experiments",
}


def root() -> Path:
    """The folder that holds `configs/` and `workloads/`: `sim/presets` when installed, else the checkout."""
    package = Path(str(files("sim")))
    packed = package / "presets"
    return packed if packed.is_dir() else package.parent


def published() -> Path:
    """The folder with the published measurements."""
    packed = root() / "published"
    return packed if packed.is_dir() else root() / "results" / "published"


def folder(kind: Kind) -> Path:
    """The folder with the presets of a kind."""
    return root() / _FOLDERS[kind]


def files_of(kind: Kind) -> dict[str, list[Path]]:
    """The presets of a kind by name, sorted: one file each, or several that have the same name.

    Those of a plug-in that has the name of one on board are left out.
    """
    found: dict[str, list[Path]] = {}
    for path in sorted(folder(kind).rglob("*.yaml")):
        found.setdefault(path.stem, []).append(path)
    on_board = set(found)
    for package in dict.fromkeys(plugin.folder(f"{kind}s") for plugin in plugins.installed()):
        for path in sorted(package.rglob("*.yaml")) if package else ():
            if path.stem not in on_board:
                found.setdefault(path.stem, []).append(path)
    return dict(sorted(found.items()))


def group(kind: Kind, path: Path) -> str:
    """The folder of a preset below that of its kind, "" for one that lies in none or is not on board."""
    lies_in, top = path.parent, folder(kind)
    return lies_in.relative_to(top).as_posix() if lies_in != top and lies_in.is_relative_to(top) else ""


def names(kind: Kind) -> list[str]:
    """The names of all presets of a kind, sorted."""
    return list(files_of(kind))


def is_path(reference: str) -> bool:
    """Whether *reference* names a file by its path rather than a preset by its name."""
    return "/" in reference or reference.endswith(".yaml")


def rivals(kind: Kind, claims: Sequence[Path]) -> str:
    """Who brings files of one name, in words."""
    on_board = claims[0].is_relative_to(folder(kind))
    return (
        f"several {kind}s on board have this name"
        if on_board
        else f"several plug-ins bring a {kind} of this name"
    )


def find(
    kind: Kind, reference: str | Path, base: Path | None = None, *, from_caller: bool = False
) -> Path | Fault:
    """The file that *reference* names, or a fault without a place, for the caller to put one to it.

    A relative path counts from the folder *base* (the one of the file that holds the reference); a name
    is looked up there first, so that a folder of one's own can hold a machine and its experiments. A
    reference *from_caller* stands in no file: its path counts from the current directory, where its name is
    looked up too.
    """
    if isinstance(reference, Path) or is_path(reference):
        return (Path() if from_caller else base or Path()) / reference
    for place in (base, Path() if from_caller else None):
        if place is not None and isfile(own := place / f"{reference}.yaml"):  # too long a name is no file
            return own
    presets = files_of(kind)
    claims = presets.get(reference, [])
    if len(claims) == 1:
        return claims[0]
    if claims:
        paths = ", ".join(str(path) for path in claims)
        return Fault(rivals(kind, claims), value=reference, allowed=f"a path: {paths}")
    known = list(presets)
    return Fault(
        f"unknown {kind}",
        value=reference,
        allowed=f"{', '.join(known)} or a path to a .yaml file",
        suggestion=nearest(reference, known),
    )
