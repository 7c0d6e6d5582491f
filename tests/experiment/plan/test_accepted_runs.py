"""Does every point of an experiment that `load` accepts run, and has every refusal a place in its files?"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sim.errors import InputError
from sim.experiment import load, run

OWN: dict[str, dict[str, Any]] = {
    "box.yaml": {"inherits": "desktop-8", "memory": {"size_per_socket": "64 MiB"}},
    "loop.yaml": {
        "title": "t", "requests": 4, "measured": {"first": 1, "last": 3},
        "stack": {"size": "64 KiB", "touched": "1 page"},
        "layout": {"request": "16 KiB", "stride": "64 KiB", "order": "own"},
        "thread": [{"mmap": {"at": "anywhere"}}, {"touch": {"at": "mapped"}}],
        "placements": {"low": {}, "high": {"layout": {"order": "shuffled"}}},
    },
    "spin.yaml": {
        "title": "t", "family": "bench", "locks": {"l": {"kind": "mcs"}}, "rounds": 3,
        "roles": [{"who": "all", "steps": [{"lock": "l"}, {"compute": "1 us"}, {"unlock": "l"}]}],
    },
}  # fmt: skip
CHANGES = {
    "workload.layout.request": ["8 KiB", "32 KiB", "1 MiB", "4 MiB"],
    "workload.layout.stride": ["64 KiB", "128 MiB"],
    "workload.requests": [3, 4, 40],
    "workload.stack.touched": ["1 page", "20 pages"],
    "workload.rounds": [1, 5],
    "workload.memory": ["interleave", {"bind": 0}],
    "machine.topology.numa_nodes": [1, 2],
    "machine.memory.size_per_socket": ["2 MiB", "1 GiB"],
}
DESIGN = st.sampled_from(["linux-6.13", "linux-5.1", "lock", "hardware"])
EXPERIMENT = st.fixed_dictionaries(
    {
        "machine": st.sampled_from(["box", "desktop-8"]),
        "designs": st.lists(DESIGN, min_size=1, max_size=2, unique=True),
        "workloads": st.lists(st.sampled_from(["loop", "spin"]), min_size=1, max_size=2, unique=True),
        "threads": st.lists(st.sampled_from([1, 2, 9]), min_size=1, max_size=2, unique=True),
    },
    optional={
        "placements": st.just(["low"]),
        "exclude": st.lists(
            st.sampled_from([{"threads": "> 8"}, {"design": "lock"}, {"workload": "loop"}]),
            min_size=1, max_size=2,
        ),
        "sweep": st.sampled_from(sorted(CHANGES)).map(lambda path: {path: CHANGES[path]}),
        "budget": st.just({"events": 1_000_000}),
    },
)  # fmt: skip


@settings(max_examples=8, deadline=None, suppress_health_check=list(HealthCheck))
@given(written=EXPERIMENT)
@pytest.mark.ci
def test_does_an_experiment_that_is_accepted_run(tmp_path_factory: Any, written: dict[str, Any]) -> None:
    folder: Path = tmp_path_factory.getbasetemp() / "accepted"
    folder.mkdir(exist_ok=True)
    for name, tree in (OWN | {"e.yaml": written}).items():
        (folder / name).write_text(yaml.safe_dump({"name": name.removesuffix(".yaml"), "title": "t", **tree}))
    try:
        experiment = load(folder / "e.yaml")
    except InputError as error:
        own = {str(folder / name) for name in (*OWN, "e.yaml")}
        for fault in error.faults:
            assert fault.file in own, fault
            assert fault.line is not None
            assert fault.key, fault
        return
    points = run(experiment, workers=1)
    failed = points[points["status"] == "failed"]
    assert failed.empty, failed["error"].iloc[0]
