"""Specs, presets and results as tables for a terminal."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from pydantic import BaseModel

from sim import plugins
from sim.engine.units import Cost, format_duration
from sim.errors import Fault
from sim.experiment import floors, presets
from sim.experiment.document import Document, KeyPath, dotted
from sim.experiment.presets import KINDS, Kind
from sim.experiment.resolve import Resolved
from sim.experiment.yaml_loader import read_document
from sim.terminal import Group, RenderableType, TextTable, styled

if TYPE_CHECKING:
    from rich.table import Table
    from rich.text import Text

    from sim.hardware import MachineSpec, Topology
    from sim.plugins import Plugin

_CLUSTERS_A_LINE = 6


def preset_list(kind: Kind) -> RenderableType:
    """The presets of a kind; below those of designs, the plug-ins, if there are any."""
    presets = _preset_table(kind)
    if kind != "design" or not plugins.installed():
        return presets
    return Group(presets, styled(""), _plugin_table())


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
    table = TextTable(box=None, pad_edge=False, header_style="bold")
    table.add_column("plug-in", no_wrap=True)
    table.add_column("package", no_wrap=True)
    table.add_column("brings", overflow="fold")
    for plugin in plugins.installed():
        refusal = floors.refusal(plugin)
        brings = f"cannot be used: {refusal}" if refusal else ", ".join(_brought(plugin))
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


def spec_view(resolved: Resolved[BaseModel]) -> RenderableType:
    """A file with the origin of each of its values; a machine also with its topology."""
    document = resolved.document
    inherits = len(resolved.files) > 1 and resolved.kind != "experiment"
    table = TextTable(box=None, pad_edge=False, header_style="bold")
    for heading in ("key", "value", "quality", "source", *(["inherited from"] if inherits else [])):
        table.add_column(heading, overflow="fold", no_wrap=heading == "key")
    table.add_column("range, note", overflow="fold", style="dim")
    for path, value in _leaves(document.tree):
        origin = document.provenance.get(path)
        cells = [dotted(path), _inline(value)]
        cells += ["", ""] if origin is None else [origin.quality or "", origin.source or ""]
        if inherits:
            cells.append(_parent(document, path) or "")
        span = " to ".join(_inline(bound) for bound in (origin and origin.range) or ())
        cells.append("; ".join(part for part in (span, origin and origin.note) if part))
        table.add_row(*cells)
    parts: list[RenderableType] = [styled(f"{resolved.kind} {resolved.name}", "bold")]
    parts += [styled(f"from {file.path}", "dim") for file in resolved.files]
    if resolved.kind == "machine":
        spec = cast("MachineSpec", resolved.spec)
        parts += [styled(""), topology_drawing(spec.topology), styled(""), _distances(spec)]
    parts += [styled(""), table]
    if sources := _sources(document):
        parts += [styled(""), _source_table(sources)]
    return Group(*parts)


def topology_drawing(topology: Topology) -> Text:
    """The cpus of a machine: one line a socket, one bracket a cluster, and how to read it."""
    clusters = topology.clusters_per_socket
    digits = len(str(topology.cpus - 1))
    label = len(f"socket {topology.sockets - 1}")
    lines = []
    for socket in range(topology.sockets):
        first = socket * clusters
        for start in range(first, first + clusters, _CLUSTERS_A_LINE):
            row = range(start, min(start + _CLUSTERS_A_LINE, first + clusters))
            name = f"socket {socket}" if start == first else ""
            brackets = " ".join(f"[{_cpus_of(topology, cluster, digits)}]" for cluster in row)
            lines.append(f"{name:{label}}  {brackets}")
    factors = [
        (topology.sockets, "socket"),
        (clusters, "cluster"),
        (topology.cores_per_cluster, "core"),
        (topology.threads_per_core, "thread"),
    ]
    product = " x ".join(
        _count(number, thing) for number, thing in factors if number > 1 or thing != "thread"
    )
    lines.append(f"{_count(topology.cpus, 'cpu')} = {product}")
    lines.append("[ ] is a cluster: the cores nearest to each other (a CCX, a die or a whole socket)")
    if topology.threads_per_core > 1:
        lines.append("| parts the first threads of its cores from the next ones, in the same order")
    if topology.interleaved:
        lines.append(":n stands for every n-th cpu: neighbours in number sit on different sockets")
    nodes = f"the kernel sees {_count(topology.numa_nodes, 'NUMA node')}"
    if topology.numa_nodes < topology.sockets:
        nodes += f", though the memory lies on {topology.sockets} sockets"
    elif topology.numa_nodes > topology.sockets:
        nodes += f", {topology.numa_nodes // topology.sockets} a socket"
    return styled("\n".join([*lines, nodes]))


def _distances(spec: MachineSpec) -> Table:
    """What a cache line and memory cost, at the distances that this machine has."""
    topology, coherence, memory = spec.topology, spec.coherence, spec.memory
    clusters, sockets = topology.clusters_per_socket > 1, topology.sockets > 1

    def cost(step: Cost) -> str:
        return format_duration(step.at(spec.clock))

    table = TextTable.grid(padding=(0, 2))
    table.add_row("a cache line", "of another core of the cluster", cost(coherence.same_cluster))
    if clusters:
        home = f" ({cost(coherence.cross_socket)} if its home is the other socket)"
        aware = coherence.home_aware and sockets
        table.add_row("", "of another cluster", cost(coherence.cross_cluster) + (home if aware else ""))
    if sockets:
        home = f" ({cost(coherence.via_home)} if its home is a third socket)" if coherence.via_home else ""
        queued = f", {coherence.contended:g} times that when several ask" if coherence.contended > 1 else ""
        table.add_row("", "of another socket", cost(coherence.cross_socket) + home + queued)
    table.add_row("memory", "of the socket", format_duration(memory.local))
    if sockets:
        table.add_row("", "of another socket", format_duration(memory.remote))
    return table


def _count(number: int, thing: str) -> str:
    return f"{number} {thing}" + "s" * (number != 1)


def _cpus_of(topology: Topology, cluster: int, digits: int) -> str:
    """The cpus of a cluster as ranges: `0-13|56-69`; with a step where cores are interleaved: `0-52:4`."""
    step = topology.sockets if topology.interleaved else 1
    cpus = [cpu for cpu in range(topology.cpus) if topology.cluster_of(cpu) == cluster]
    size = topology.cores_per_cluster
    threads = (cpus[start : start + size] for start in range(0, len(cpus), size))
    suffix = f":{step}" if step > 1 else ""
    return "|".join(_range(some, digits) + (suffix if len(some) > 1 else "") for some in threads)


def _range(cpus: list[int], digits: int) -> str:
    """`0-13`, or `0` alone."""
    first, last = f"{cpus[0]:>{digits}}", f"{cpus[-1]:>{digits}}"
    return first if len(cpus) == 1 else f"{first}-{last}"


def _parent(document: Document, path: KeyPath) -> str | None:
    """The name of the file that wrote an inherited value."""
    file = document.mark(path).file
    return None if file == document.start.file else Path(file).stem


def _sources(document: Document) -> list[tuple[str, str]]:
    """The sources that the values name, with their texts; an id with several meanings says where."""
    files: dict[tuple[str, str], list[str]] = {}
    for origin in document.provenance.values():
        if origin.source and origin.source_text:
            users = files.setdefault((origin.source, origin.source_text), [])
            users.append(Path(origin.mark.file).stem)
    ids = [source for source, _ in files]
    return [
        (source if ids.count(source) == 1 else f"{source} in {', '.join(dict.fromkeys(users))}", text)
        for (source, text), users in files.items()
    ]


def _source_table(sources: list[tuple[str, str]]) -> TextTable:
    table = TextTable(box=None, pad_edge=False, header_style="bold")
    table.add_column("source", no_wrap=True)
    table.add_column("is", overflow="fold")
    for key, text in sources:
        table.add_row(key, text)
    return table


def _leaves(tree: Any, path: KeyPath = ()) -> Iterator[tuple[KeyPath, Any]]:
    """Plain values, and lists of plain values, with their paths."""
    if isinstance(tree, dict) and tree:
        for key, value in tree.items():
            yield from _leaves(value, (*path, key))
    elif isinstance(tree, list) and any(isinstance(item, dict | list) for item in tree):
        for index, value in enumerate(tree):
            yield from _leaves(value, (*path, index))
    else:
        yield path, tree


def _inline(value: Any) -> str:
    if isinstance(value, list):
        return f"[{', '.join(_inline(item) for item in value)}]"
    if isinstance(value, bool) or value is None:
        return {True: "true", False: "false", None: "null"}[value]
    return str(value)
