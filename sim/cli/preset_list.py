"""The presets of a kind, and the plug-ins that bring some, as tables for a terminal."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from sim import plugins
from sim.errors import Fault
from sim.files import KINDS, Kind, presets, read_document
from sim.terminal import Group, RenderableType, TextTable, styled

if TYPE_CHECKING:
    from sim.plugins import Plugin


def preset_list(kind: Kind) -> RenderableType:
    """The presets of a kind; below those of designs, the plug-ins, if there are any."""
    table = _preset_table(kind)
    if kind != "design" or not plugins.installed():
        return table
    return Group(table, styled(""), _plugin_table())


def _preset_table(kind: Kind) -> TextTable:
    """Name and title of each preset."""
    table = TextTable(box=None, pad_edge=False, header_style="bold")
    table.add_column(kind, no_wrap=True)
    table.add_column("title", overflow="fold")
    for name, (path, *rivals) in presets.files_of(kind).items():
        if rivals:
            paths = ", ".join(str(file) for file in (path, *rivals))
            table.add_row(name, f"(several plug-ins bring it: name one by its path: {paths})")
            continue
        faults: list[Fault] = []
        document = read_document(path, faults)
        title = "" if document is None else document.tree.get("title", "")
        table.add_row(name, f"(faulty: see cortensim check {path})" if faults else str(title))
    return table


def _plugin_table() -> TextTable:
    """The packages that add to designs: what they bring, and why one cannot be used."""
    from sim.designs import refusal

    table = TextTable(box=None, pad_edge=False, header_style="bold")
    table.add_column("plug-in", no_wrap=True)
    table.add_column("package", no_wrap=True)
    table.add_column("brings", overflow="fold")
    for plugin in plugins.installed():
        reason = refusal(plugin)
        brings = f"cannot be used: {reason}" if reason else ", ".join(_brought(plugin))
        table.add_row(plugin.name, plugin.distribution, brings)
    return table


def _brought(plugin: Plugin) -> Iterator[str]:
    """What a plug-in adds, and its presets, in words."""
    yield plugin.brings
    for kind in KINDS:
        folder = plugin.folder(f"{kind}s")
        for path in sorted(folder.glob("*.yaml")) if folder else ():
            hidden = path not in presets.files_of(kind)[path.stem]
            yield f"{kind} {path.stem}" + (" (hidden: a preset on board has its name)" if hidden else "")
