"""Do the shipped machine files say what their sources say, and who said it?"""

from __future__ import annotations

import csv
from typing import cast

import pytest

from sim.files import Document, KeyPath, dotted, load_spec, presets
from sim.hardware import MachineSpec

MACHINES = presets.names("machine")

LAYOUTS = {  # sockets, clusters a socket, cores a cluster, threads a core, cpus
    "amd-2x96-nps2": (2, 12, 8, 1, 192),
    "broadwell-48": (2, 1, 12, 2, 48),
    "broadwell-56": (2, 1, 14, 2, 56),
    "cooperlake-224": (4, 1, 28, 2, 224),
    "desktop-8": (1, 1, 8, 1, 8),
    "epyc-7713": (1, 8, 8, 2, 128),
    "epyc-9965": (2, 12, 16, 1, 384),
    "epyc-9965-guest": (2, 12, 16, 1, 384),
    "epyc-9965-guest-physical": (2, 12, 16, 1, 384),
    "epyc-9965-guest-pv": (2, 12, 16, 1, 384),
    "epyc-9965-nps4": (2, 12, 16, 1, 384),
    "granite-rapids-256": (2, 2, 32, 2, 256),
    "guest-1": (1, 1, 1, 1, 1),
    "guest-zen5-2": (1, 1, 2, 1, 2),
    "haswell-desktop-4": (1, 1, 4, 1, 4),
    "latr-2s16": (2, 1, 8, 1, 16),
    "i5-6500t": (1, 1, 4, 1, 4),
    "icelake-64": (2, 1, 16, 2, 64),
    "icelake-96": (2, 1, 24, 2, 96),
    "icelake-client-4": (1, 1, 4, 1, 4),
    "ivybridge-48": (2, 1, 12, 2, 48),
    "milan-72": (1, 6, 6, 2, 72),
    "sapphire-rapids-192": (2, 4, 12, 2, 192),
    "sapphire-rapids-224": (2, 4, 14, 2, 224),
    "sapphire-rapids-aws": (1, 4, 12, 2, 96),
    "sierra-forest-192": (2, 1, 96, 1, 192),
    "skylake-104": (2, 1, 26, 2, 104),
    "skylake-56": (2, 1, 14, 2, 56),
    "skylake-client-4": (1, 1, 4, 1, 4),
    "xeon-4210r": (2, 1, 10, 1, 20),
    "xeon-4s56": (4, 1, 14, 2, 112),  # named for its cores
    "xeon-5320": (1, 1, 26, 1, 26),
    "xeon-5418yx2": (2, 1, 24, 1, 48),
    "xeon-6240x2": (2, 1, 18, 1, 36),
    "xeon-6248rx2": (2, 1, 24, 2, 96),
    "xeon-6252x2": (2, 1, 24, 1, 48),
    "xeon-8592x2": (2, 2, 32, 1, 128),
    "xeon-e7-8870x8": (8, 1, 10, 1, 80),
    "xeon-e7-8895v3x4": (4, 1, 18, 2, 144),
}
MEMORY = {  # GiB of the whole machine, where its source says it
    "amd-2x96-nps2": 1536,
    "broadwell-48": 256,
    "cooperlake-224": 192,
    "granite-rapids-256": 256,
    "icelake-64": 256,
    "icelake-96": 256,
    "ivybridge-48": 64,
    "sapphire-rapids-192": 384,
    "sapphire-rapids-224": 256,
    "sapphire-rapids-aws": 384,
    "sierra-forest-192": 256,
    "skylake-104": 192,
    "xeon-5418yx2": 128,
}
NODES = {"amd-2x96-nps2": 4, "epyc-9965-nps4": 8, "guest-1": 1, "xeon-5418yx2": 2}
UNNAMED = {"unknown-1vcpu-guest", "intel-lkp-unnamed", "x86-mingo-kvm-guest", "x86-vagin"}
"""Their sources do not say what they ran on: there is nothing to write a file from."""
NO_FILE_YET = {
    "fx-8320",
    "hyperv-on-kvm-guest-4",
    "intel-ipiv-guest-2",
    "sandybridge-desktop-2011",
    "xeon-w3580",
}
"""Machines that nobody has written a file for: `validate` says so of their rows."""
BESIDE_THE_DATA = {"cow-pte-guest", "kevlar-guest", "odf-host", "xeon-5418y-guest-2", "xeon-8575c-guest"}
"""Machines whose files lie beside the published rows."""
NO_FACTS = {("name",), ("title",), ("guest",)}


def document(name: str) -> Document:
    return load_spec("machine", name).document


def values(tree: dict[str, object], path: KeyPath = ()) -> list[KeyPath]:
    """All but names, and what a file takes away from its parent with `null`."""
    found: list[KeyPath] = []
    for key, value in tree.items():
        if isinstance(value, dict):
            found += values(value, (*path, key))
        elif isinstance(value, list):
            found += [at for number, each in enumerate(value) for at in values(each, (*path, key, number))]
        elif value is not None:
            found.append((*path, key))
    return [path for path in found if path not in NO_FACTS and path[-1] != "name"]


@pytest.mark.parametrize("name", MACHINES)
def test_is_it_laid_out_as_its_name_or_source_says(name: str) -> None:
    topology = cast(MachineSpec, load_spec("machine", name).spec).topology
    assert (
        topology.sockets,
        topology.clusters_per_socket,
        topology.cores_per_cluster,
        topology.threads_per_core,
        topology.cpus,
    ) == LAYOUTS[name]


@pytest.mark.parametrize(("name", "size"), MEMORY.items())
def test_has_it_the_memory_that_its_source_says(name: str, size: int) -> None:
    spec = cast(MachineSpec, load_spec("machine", name).spec)
    assert spec.memory.size_per_socket * spec.topology.sockets == size * 2**30


@pytest.mark.parametrize(("name", "nodes"), NODES.items())
def test_has_it_the_nodes_that_its_name_or_source_says(name: str, nodes: int) -> None:
    assert cast(MachineSpec, load_spec("machine", name).spec).topology.numa_nodes == nodes


@pytest.mark.parametrize("name", MACHINES)
def test_is_there_a_way_between_siblings_where_cores_have_them(name: str) -> None:
    """Nearer than any other core, and about an atomic operation."""
    spec = cast(MachineSpec, load_spec("machine", name).spec)
    line = spec.coherence
    assert (line.sibling is not None) == (spec.topology.threads_per_core > 1)
    if line.sibling is not None:
        assert line.sibling.at(spec.clock) < line.same_cluster.at(spec.clock) / 2
        assert line.sibling.at(spec.clock) == pytest.approx(line.rmw.at(spec.clock), rel=0.5)


@pytest.mark.parametrize("name", MACHINES)
def test_has_every_value_a_quality_and_a_source_that_is_explained(name: str) -> None:
    found = document(name)
    origins = {path: found.provenance.get(path) for path in values(found.tree)}
    assert [dotted(path) for path, origin in origins.items() if origin is None or not origin.quality] == []
    assert [dotted(path) for path, origin in origins.items() if origin and not origin.source_text] == []


@pytest.mark.parametrize("name", MACHINES)
def test_say_derived_and_fitted_values_from_what(name: str) -> None:
    origins = document(name).provenance.items()
    silent = [p for p, origin in origins if origin.quality in ("derived", "fitted") and not origin.note]
    assert [dotted(path) for path in silent] == []


@pytest.mark.parametrize("name", MACHINES)
def test_is_no_value_fitted_to_rows_that_are_to_be_predicted(name: str) -> None:
    """A fitted value names its rows, and the rows are those marked `calibrate`."""
    origins = document(name).provenance.items()
    texts = {dotted(path): origin.source_text for path, origin in origins if origin.quality == "fitted"}
    assert {path for path, text in texts.items() if "rows marked calibrate" not in (text or "")} == set()


@pytest.mark.parametrize("name", MACHINES)
def test_lies_every_value_within_its_range(name: str) -> None:
    def number(text: object) -> float:
        return float(str(text).split()[0])

    for path, origin in document(name).provenance.items():
        if origin.range and {str(v).split()[-1] for v in (origin.value, *origin.range)} == {
            str(origin.value).split()[-1]
        }:
            low, high = origin.range
            assert number(low) <= number(origin.value) <= number(high), dotted(path)


def test_is_there_a_file_for_every_machine_with_published_measurements() -> None:
    named = set()
    for file in presets.published().glob("*.csv"):
        with file.open(encoding="utf-8", newline="") as rows:
            named |= {row["machine"] for row in csv.DictReader(rows)}
    assert named - set(MACHINES) == UNNAMED | NO_FILE_YET | BESIDE_THE_DATA
    assert all((presets.published() / f"{name}.yaml").is_file() for name in BESIDE_THE_DATA)
