"""Is every mistake in a machine file one clear message: its place, the key, the value and what is allowed?"""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from answers import Command

# "..." stands for what other files add to.
HEAD = "name: m\ninherits: xeon-6252x2\n"  # 2 sockets, one cluster of 24 cores each, remote memory 142 ns

FILES = {
    "missing unit": (
        HEAD + "coherence: {same_cluster: 50}\n",
        "m.yaml:3:27: coherence.same_cluster: not a cost: write cycles, a time or their sum, such as "
        "'110 cycles + 98 ns' (got 50)",
    ),
    "missing unit in a sourced value": (
        HEAD + "memory:\n  local: {value: '88', quality: published, source: MLC}\n",
        "m.yaml:4:18: memory.local: not a duration: write a number and a unit such as '120 ns' "
        "(ps, ns, us, µs, ms, s) (got '88')",
    ),
    "unit of another kind": (
        HEAD + "memory: {llc: 32 ns}\n",
        "m.yaml:3:15: memory.llc: not a size: write a number and a unit such as '16 KiB' "
        "(B, KiB, MiB, GiB, TiB, page, pages) (got '32 ns')",
    ),
    "negative latency": (
        HEAD + "coherence: {cross_socket: -138 ns}\n",
        "m.yaml:3:27: coherence.cross_socket: a cost cannot be negative (got '-138 ns')",
    ),
    "release that is a number": (
        HEAD + "kernel:\n  mitigations:\n    - {name: bhi, since: 6.10}\n",
        "m.yaml:5:26: kernel.mitigations[0].since: not a release of Linux: write two or three numbers in "
        "quotes, such as '6.13' (got 6.1)",
    ),
    "release that is none": (
        HEAD + "kernel:\n  mitigations:\n    - {name: bhi, since: v6.9-rc1}\n",
        "m.yaml:5:26: kernel.mitigations[0].since: not a release of Linux: write two or three numbers in "
        "quotes, such as '6.13' (got 'v6.9-rc1')",
    ),
    "end before the beginning": (
        HEAD + "kernel:\n  mitigations:\n    - {name: bhi, since: '6.9', until: '6.8'}\n",
        "m.yaml:5:40: kernel.mitigations[0].until: `until` must be a later release than `since` "
        "(got '6.8'; allowed: later than 6.9)",
    ),
    "defence twice": (
        HEAD + "kernel:\n  mitigations:\n    - {name: bhi, since: '6.9'}\n    - {name: bhi, since: '6.9'}\n",
        "m.yaml:6:14: kernel.mitigations[1].name: two mitigations have the name 'bhi' "
        "(got 'bhi'; allowed: another name)",
    ),
    "isolation without isolation": (
        HEAD + "tlb: {invalidate_user: 100 ns}\n",
        "m.yaml:3:24: tlb.invalidate_user: `invalidate_user` is for page-table isolation, which is none of "
        "`kernel.mitigations` (got '100 ns'; allowed: nothing)",
    ),
    "no cores": (
        HEAD + "topology: {cores_per_cluster: 0}\n",
        "m.yaml:3:31: topology.cores_per_cluster: too small (got 0; allowed: more than 0)",
    ),
    "no threads a core": (
        HEAD + "topology: {threads_per_core: 0}\n",
        "m.yaml:3:30: topology.threads_per_core: too small (got 0; allowed: more than 0)",
    ),
    "clusters that do not add up": (
        HEAD + "topology:\n  cores_per_socket: 24\n  cores_per_cluster: 16\n",
        "m.yaml:4:21: topology.cores_per_socket: the clusters of a socket hold 1 x 16 = 16 cores, not 24 "
        "(got 24; allowed: 16)",
    ),
    "clusters that cannot add up": (
        "name: m\ninherits: milan-72\ntopology: {cores_per_cluster: 8}\n",
        "m.yaml:3:31: topology.cores_per_cluster: the clusters of a socket hold 6 x 8 = 48 cores, not 36 "
        "(got 8; allowed: 6)",
    ),
    "clusters that do not divide": (
        "name: m\ninherits: milan-72\ntopology: {clusters_per_socket: 5}\n",
        "m.yaml:3:33: topology.clusters_per_socket: the clusters of a socket hold 5 x 6 = 30 cores, not 36 "
        "(got 5; allowed: 6)",
    ),
    "nodes that sockets cannot share": (
        HEAD + "topology: {numa_nodes: 3}\n",
        "m.yaml:3:24: topology.numa_nodes: 2 x 1 x 24 cores cannot be shared out evenly to NUMA nodes "
        "(got 3; allowed: 1, 2, 4, 6, 8, 12, 16, 24, 48)",
    ),
    "nodes that cores cannot share": (
        HEAD + "topology: {numa_nodes: 10}\n",
        "m.yaml:3:24: topology.numa_nodes: 2 x 1 x 24 cores cannot be shared out evenly to NUMA nodes "
        "(got 10; allowed: 1, 2, 4, 6, 8, 12, 16, 24, 48)",
    ),
    "nodes that clusters cannot share": (
        "name: m\ninherits: milan-72\ntopology: {numa_nodes: 4}\n",
        "m.yaml:3:24: topology.numa_nodes: 1 x 6 x 6 cores cannot be shared out evenly to NUMA nodes "
        "(got 4; allowed: 1, 2, 3, 6, 12, 18, 36)",
    ),
    "near memory that is far": (
        HEAD + "memory: {local: 150 ns}\n",
        "m.yaml:3:17: memory.local: remote memory must not be nearer than local memory "
        "(got '150 ns'; allowed: at most 142 ns)",
    ),
    "far memory that is near": (
        HEAD + "memory: {remote: 80 ns}\n",
        "m.yaml:3:18: memory.remote: remote memory must not be nearer than local memory "
        "(got '80 ns'; allowed: at least 88 ns)",
    ),
    "a cluster nearer than itself": (
        HEAD + "coherence: {cross_cluster: 49 ns}\n",
        "m.yaml:3:28: coherence.cross_cluster: cross_cluster must not be cheaper than same_cluster "
        "(got '49 ns'; allowed: at least 50 ns)",
    ),
    "cycles that are too many at this clock": (
        HEAD + "coherence: {same_cluster: 110 cycles}\n",
        "m.yaml:3:27: coherence.same_cluster: cross_cluster must not be cheaper than same_cluster "
        "(got '110 cycles'; allowed: at most 50 ns)",
    ),
    "unknown key": (
        HEAD + "coherence: {same_clustr: 24 ns}\n",
        "m.yaml:3:13: coherence.same_clustr: unknown key (allowed: hit, ...; did you mean 'same_cluster'?)",
    ),
    "unknown quality": (
        HEAD + "clock: {value: 2.1 GHz, quality: guessed, source: E}\n",
        "m.yaml:3:34: clock.quality: unknown quality (got 'guessed'; allowed: measured, published, derived, "
        "recalled, estimated, fitted)",
    ),
    "source that nobody explains": (
        HEAD + "clock: {value: 2.1 GHz, quality: recalled, source: SPECS}\nsources: {ME: my guess}\n",
        "m.yaml:3:52: clock.source: no `sources:` says what this source is (got 'SPECS'; allowed: ..., ME; "
        "did you mean 'SPEC'?)",
    ),
    "unknown parent": (
        "name: m\ninherits: xeon-6252\n",
        "m.yaml:2:11: inherits: unknown machine (got 'xeon-6252'; allowed: ..., "
        "xeon-6252x2, ... or a path to a .yaml file; did you mean 'xeon-6252x2'?)",
    ),
    "parent that is itself": (
        "name: m\ninherits: ./m.yaml\n",
        "m.yaml:2:11: inherits: inherits from itself: m -> m (got './m.yaml')",
    ),
    "parent that is a child": (
        "name: m\ninherits: ./n.yaml\n",
        "n.yaml:2:11: inherits: inherits from itself: m -> n -> m (got './m.yaml')",
    ),
}


@pytest.mark.parametrize("verb", ["check", "show"])
@pytest.mark.parametrize("case", FILES)
def test_is_a_bad_machine_refused_in_one_message(
    command: Command, folder: Path, case: str, verb: str
) -> None:
    text, message = FILES[case]
    (folder / "machines").mkdir()
    (folder / "machines/m.yaml").write_text(text)
    (folder / "machines/n.yaml").write_text("name: n\ninherits: ./m.yaml\n")
    answer = command(verb, "machines/m.yaml")
    assert (answer.code, answer.out) == (2, "")
    assert len(answer.err.splitlines()) == 1, answer.err
    pattern = ".*".join(re.escape(part) for part in f"machines/{message}\n".split("..."))
    assert re.fullmatch(pattern, answer.err), answer.err


def test_is_a_value_from_the_command_line_blamed_when_it_breaks_a_rule(
    command: Command, folder: Path
) -> None:
    answer = command("run", "e.yaml", "--set", "machine.memory.local=1 us")
    assert answer.code == 2
    assert answer.err == (
        "--set machine.memory.local=1 us: memory.local: remote memory must not be nearer than local memory "
        "(got '1 us'; allowed: at most 246 ns)\n"
    )


def test_may_a_source_be_explained_by_a_parent_or_mean_something_else_there(
    command: Command, folder: Path
) -> None:
    """The parent's values keep the parent's meaning of an id, and each says in which file it was written."""
    (folder / "machines").mkdir()
    (folder / "machines/m.yaml").write_text(
        HEAD + "clock: {value: 2 GHz, quality: published, source: BRIEF}\n"
        "memory: {local: {value: 90 ns, quality: measured, source: MLC}}\n"
        "sources: {MLC: my own run}\n"
    )
    answer = command("show", "machines/m.yaml")
    assert answer.code == 0
    rows = [" ".join(line.split()) for line in answer.out.splitlines()]
    assert "clock 2 GHz published BRIEF" in rows
    assert "memory.local 90 ns measured MLC" in rows
    assert "memory.remote 142 ns published MLC xeon-6252x2" in rows
    assert "MLC in m my own run" in rows
    assert "MLC in xeon-6252x2 Intel MLC on 2x Gold 6240, gjbex/Code-optimization" in rows
