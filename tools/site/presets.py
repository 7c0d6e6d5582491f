"""Pages of the presets on board: a table of each kind, and the text of every file."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from source import ROOT, Page
from text import code, table

from sim.files import KINDS, Kind, load_spec, presets, read_document

FOLDER = "reference/presets"

_COLUMNS: dict[Kind, tuple[str, ...]] = {
    "machine": ("sockets", "nodes", "cores", "cpus", "clock", "inherits"),
    "design": ("family", "inherits"),
    "workload": ("placements", "inherits"),
    "experiment": ("machines", "designs", "workloads", "threads"),
}
_MANY = 4
"""So many names or thread counts of an experiment are told; of more their number."""


def preset_pages() -> Iterator[Page]:
    """A page for each kind, and below it one for each folder of its files, with their text."""
    for kind in KINDS:
        groups: dict[str, list[Path]] = defaultdict(list)
        for paths in presets.files_of(kind).values():
            for path in paths:
                if path.is_relative_to(
                    presets.folder(kind)
                ):  # not one that a plug-in of this installation brings
                    groups[presets.group(kind, path)].append(path)
        pages = {group: _page_of(kind, group) for group in sorted(groups)}
        for group, name in pages.items():
            yield Page(f"{FOLDER}/{name}.md", _files(kind, group, groups[group]))
        yield Page(f"{FOLDER}/{kind}s.md", _list(kind, groups, pages))
    lines = "".join(f"- [{kind}s]({kind}s.md): `cortensim list {kind}s`\n" for kind in KINDS)
    yield Page(
        f"{FOLDER}/index.md",
        "# On board\n\nWhat comes with the program. Each name can stand in an experiment or be inherited "
        "from; `cortensim show NAME` prints it with the origin of each value.\n\n"
        + lines
        + "\n```{toctree}\n:hidden:\n\n"
        + "".join(f"{kind}s\n" for kind in KINDS)
        + "```\n",
    )


def _page_of(kind: Kind, group: str) -> str:
    return f"files-{kind}s" + (f"-{group.replace('/', '-')}" if group else "")


def _list(kind: Kind, groups: dict[str, list[Path]], pages: dict[str, str]) -> str:
    text = f"# {kind.capitalize()}s on board\n\nA name leads to its file. What the keys mean: [{kind} files]"
    text += f"(../files/{kind}.md).\n\n"
    heading = (kind, "title", *_COLUMNS[kind])
    for group in pages:
        rows = [
            (f"[{code(path.stem)}](#{_label(path)})", *_row(kind, path)) for path in sorted(groups[group])
        ]
        text += (f"## {group}\n\n" if group else "") + table(heading, rows, look="presets") + "\n"
    return text + "```{toctree}\n:hidden:\n\n" + "".join(f"{page}\n" for page in pages.values()) + "```\n"


def _label(path: Path) -> str:
    name = path.relative_to(ROOT).with_suffix("").as_posix()
    return "preset-" + "".join(letter if letter.isalnum() else "-" for letter in name.lower())


def _row(kind: Kind, path: Path) -> tuple[str, ...]:
    """The cells of a preset, from its title on."""
    tree: dict[str, Any] = dict(read_document(path, []).tree)  # type: ignore[union-attr]
    parent = code(tree["inherits"]) if "inherits" in tree else ""
    title = str(tree.get("title", ""))
    match kind:
        case "machine":
            spec: Any = load_spec(kind, path).spec
            shape = spec.topology
            clock = f"{spec.clock / 1e9:.4g} GHz"
            return title, *_shape(shape), clock, parent
        case "design":
            return title, str(getattr(load_spec(kind, path).spec, "family", "")), parent
        case "workload":
            return title, ", ".join(map(code, tree.get("placements", {}))), parent
    machines = tree.get("machines", [tree["machine"]] if "machine" in tree else [])
    return title, *map(_names, (machines, tree.get("designs"), tree.get("workloads"), tree.get("threads")))


def _shape(shape: Any) -> tuple[str, ...]:
    return str(shape.sockets), str(shape.nodes), str(shape.cores), str(shape.cpus)


def _names(values: Any) -> str:
    if not isinstance(values, list):
        return code(values) if values else ""
    return ", ".join(map(code, values)) if len(values) <= _MANY else f"{len(values)}"


def _files(kind: Kind, group: str, paths: list[Path]) -> str:
    """The files of a folder, whole."""
    of = f": {group}" if group else ""
    text = f"# Files of {kind}s{of}\n\n"
    for path in sorted(paths):
        place = path.relative_to(ROOT).as_posix()
        text += f"({_label(path)})=\n## {path.stem}\n\n{code(place)}\n\n"
        text += f"```{{literalinclude}} /{place}\n:language: yaml\n```\n\n"
    return text
