"""Specs, presets and results as tables for a terminal."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from sim.errors import Fault
from sim.experiment import presets
from sim.experiment.document import KeyPath, dotted
from sim.experiment.presets import Kind
from sim.experiment.resolve import Resolved
from sim.experiment.yaml_loader import read_document

if TYPE_CHECKING:
    from pandas import DataFrame

    from sim.hardware import Topology

_CLUSTERS_A_LINE = 6


def preset_table(kind: Kind) -> Table:
    """The presets of a kind: name and title."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column(kind, no_wrap=True)
    table.add_column("title", overflow="fold")
    for name in presets.names(kind):
        faults: list[Fault] = []
        path = presets.folder(kind) / f"{name}.yaml"
        document = read_document(path, faults)
        title = "" if document is None else document.tree.get("title", "")
        table.add_row(name, f"(faulty: see cortensim check {path})" if faults else str(title))
    return table


def spec_view(resolved: Resolved[BaseModel]) -> RenderableType:
    """A file with the origin of each of its values; a machine also with its topology."""
    document = resolved.document
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("key", "value", "quality", "source"):
        table.add_column(heading, overflow="fold", no_wrap=heading == "key")
    table.add_column("range, note", overflow="fold", style="dim")
    for path, value in _leaves(document.tree):
        origin = document.provenance.get(path)
        if origin is None:
            table.add_row(dotted(path), _inline(value), "", "", "")
        else:
            span = " to ".join(_inline(bound) for bound in origin.range or ())
            remark = "; ".join(part for part in (span, origin.note) if part)
            table.add_row(dotted(path), _inline(value), origin.quality or "", origin.source or "", remark)
    parts: list[RenderableType] = [Text(f"{resolved.kind} {resolved.name}", style="bold")]
    parts += [Text(f"from {file.path}", style="dim") for file in resolved.files]
    topology: Topology | None = getattr(resolved.spec, "topology", None)
    if topology is not None:
        parts += [Text(), topology_drawing(topology)]
    parts += [Text(), table]
    if document.sources:
        parts += [Text(), _source_table(document.sources.items())]
    return Group(*parts)


def topology_drawing(topology: Topology) -> Text:
    """The cpus of a machine: one bracket a cluster (cores that share an L3), one block a socket."""
    clusters = topology.clusters_per_socket
    digits = len(str(topology.cpus - 1))
    lines = []
    for socket in range(topology.sockets):
        lines.append(f"socket {socket}")
        first = socket * clusters
        for start in range(first, first + clusters, _CLUSTERS_A_LINE):
            row = range(start, min(start + _CLUSTERS_A_LINE, first + clusters))
            lines.append("  " + " ".join(f"[{_cpus_of(topology, cluster, digits)}]" for cluster in row))
    nodes = f"{topology.numa_nodes} NUMA node" + "s" * (topology.numa_nodes != 1)
    lines.append(
        f"{topology.cpus} cpus in {topology.sockets * clusters} clusters [cpus that share an L3]; "
        f"the kernel sees {nodes}"
    )
    return Text("\n".join(lines))


def _cpus_of(topology: Topology, cluster: int, digits: int) -> str:
    """The cpus of a cluster as ranges: `0-13,56-69`; with a step where cores are interleaved: `0-52:4`."""
    step = topology.sockets if topology.interleaved else 1
    cpus = [cpu for cpu in range(topology.cpus) if topology.cluster_of(cpu) == cluster]
    size = topology.cores_per_cluster
    threads = (cpus[start : start + size] for start in range(0, len(cpus), size))
    suffix = f":{step}" if step > 1 else ""
    return ",".join(f"{some[0]:>{digits}}-{some[-1]:>{digits}}{suffix}" for some in threads)


def result_table(points: DataFrame) -> Table:
    """Throughput at the largest thread count: a row a machine, workload and placement, a column a design.

    Replicates are given as their mean with half of its 95 % confidence interval; a swept value is a column.
    """
    from sim.analysis.tables import averaged, swept_columns

    threads = int(points["threads"].max())
    table = Table(
        box=None, pad_edge=False, header_style="bold", title=f"operations per µs at {threads} threads",
        title_justify="left",
    )  # fmt: skip
    names = ("machine", "workload", "placement", *swept_columns(points))
    keys = [key for key in names if points[key].nunique() > 1] or ["workload"]
    for key in keys:
        table.add_column(key)
    designs = list(dict.fromkeys(points["design"]))
    for design in designs:
        table.add_column(design, justify="right")
    largest = points[points["threads"] == threads]
    means = averaged(largest[largest["status"] == "ok"], keys=("design", *keys))
    for place, _ in largest.groupby(keys, sort=False):
        here = means[(means[keys] == list(place)).all(axis=1)].set_index("design")
        cells = []
        for design in designs:
            if design not in here.index:
                cells.append("failed")
                continue
            mean, high = here.loc[design, ["mean", "high"]]
            cells.append(f"{mean:.4g}" + (f" ± {high - mean:.2g}" if high == high else ""))
        table.add_row(*[str(name) for name in place], *cells)
    return table


def _source_table(sources: Iterable[tuple[str, str]]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
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
