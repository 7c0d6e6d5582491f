"""A small point of many threads, and a trace file read back with Perfetto's own classes."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from perfetto.protos.perfetto.trace.perfetto_trace_pb2 import Trace, TrackEvent

from sim.engine import Probe
from sim.experiment import Outcome, Point, load, run_point
from sim.timeline import HOWS, Asked, Timeline

WORKLOAD = {
    "name": "w",
    "title": "map, touch and unmap in one process",
    "requests": 2,
    "stack": {"size": "16 KiB", "touched": "4 KiB"},
    "layout": {"request": "8 KiB", "stride": "64 KiB", "order": "own", "base": "4 GiB"},
    "thread": [{"mmap": {"at": "slot"}}, {"touch": {"at": "slot"}}, {"munmap": {"at": "slot"}}],
}


def point(
    folder: Path, design: str, threads: int, *, experiment: dict[str, Any] | None = None, **changes: Any
) -> Point:
    """A point of `WORKLOAD` with *changes* of its keys; *experiment* has further keys of that."""
    (folder / "w.yaml").write_text(json.dumps({**WORKLOAD, **changes}))
    written = {
        "name": "e",
        "machine": "epyc-9965-guest",
        "designs": [design],
        "workloads": ["w.yaml"],
        "threads": [threads],
        **(experiment or {}),
    }
    (folder / "e.yaml").write_text(json.dumps(written))
    (found,) = load(str(folder / "e.yaml")).points
    return found


def listened(
    point: Point, asked: Asked | None = None, listeners: Sequence[Probe] = ()
) -> tuple[Timeline, Outcome]:
    """*point*, and what its timeline has heard."""
    windowed = point.workload_spec.plan(point.placement).window is not None
    timeline = Timeline(asked or Asked(), windowed=windowed)
    outcome = run_point(point, listeners=[timeline, *listeners])
    assert not outcome.failed, outcome.row.error + outcome.trace
    return timeline, outcome


class Accounts(Probe):
    """The account of each cpu over the whole of the last run."""

    def __init__(self) -> None:
        self.cpus: Sequence[Any] = ()
        self.spent: Counter[str] = Counter()

    def run_begins(self, cpus: Sequence[Any]) -> None:
        self.cpus = cpus

    def run_ends(self) -> None:
        self.spent = Counter()
        for cpu in self.cpus:
            self.spent.update(cpu.spent)


@dataclass
class Slice:
    """A slice of a trace file; *inside* are those in it. *end* is None while it is open."""

    track: str
    name: str
    category: str
    begin: int
    notes: dict[str, Any]
    flows: list[int]
    end: int | None = None
    inside: list[Slice] = field(default_factory=list)


class Read:
    """What is in a trace file. Slices that do not nest, and names that are not there, raise."""

    def __init__(self, encoded: bytes) -> None:
        trace = Trace()
        assert trace.ParseFromString(encoded) == len(encoded)
        self.tracks: dict[int, str] = {}
        self.parents: dict[int, int] = {}
        self.roots: dict[str, list[Slice]] = {}
        self.counters: dict[str, list[tuple[int, int]]] = {}
        self._open: dict[int, list[Slice]] = {}
        self._names: dict[tuple[str, int], str] = {}
        for packet in trace.packet:
            self._read(packet)
        assert not any(self._open.values())

    def slices(self) -> Iterator[Slice]:
        """All slices, those inside others behind these."""
        waiting = [each for roots in self.roots.values() for each in reversed(roots)]
        while waiting:
            each = waiting.pop()
            yield each
            waiting += reversed(each.inside)

    def charged(self, note: str = "ps") -> Counter[str]:
        """Activity -> what the slices say is charged."""
        times: Counter[str] = Counter()
        for each in self.slices():
            if note in each.notes:
                times[each.category] += each.notes[note]
        return times

    def _read(self, packet: Any) -> None:
        if packet.HasField("track_descriptor"):
            track = packet.track_descriptor
            assert track.uuid not in self.tracks
            self.tracks[track.uuid] = track.name
            if track.HasField("parent_uuid"):
                self.parents[track.uuid] = track.parent_uuid
        for kind in ("event_names", "event_categories", "debug_annotation_names"):
            for entry in getattr(packet.interned_data, kind):
                self._names[kind, entry.iid] = entry.name
        for entry in packet.interned_data.debug_annotation_string_values:
            self._names["values", entry.iid] = entry.str.decode()
        if packet.HasField("track_event"):
            self._event(packet.timestamp, packet.track_event)

    def _event(self, at: int, event: Any) -> None:
        track = self.tracks[event.track_uuid]
        if event.type == TrackEvent.TYPE_COUNTER:
            self.counters.setdefault(track, []).append((at, event.counter_value))
            return
        stack = self._open.setdefault(event.track_uuid, [])
        if event.type == TrackEvent.TYPE_SLICE_END:
            ended = stack.pop()
            assert at >= ended.begin
            assert all(each.end is not None and each.end <= at for each in ended.inside)
            ended.end = at
            return
        notes = {
            self._names["debug_annotation_names", note.name_iid]: note.int_value
            if note.HasField("int_value")
            else self._names["values", note.string_value_iid]
            for note in event.debug_annotations
        }
        (category,) = event.category_iids
        new = Slice(
            track,
            self._names["event_names", event.name_iid],
            self._names["event_categories", category],
            at,
            notes,
            list(event.flow_ids),
        )
        around = stack[-1].inside if stack else self.roots.setdefault(track, [])
        assert at >= (stack[-1].begin if stack else 0)
        assert not around or (around[-1].end or 0) <= at
        around.append(new)
        if event.type == TrackEvent.TYPE_INSTANT:
            new.end = at
        else:
            stack.append(new)


def read_folded(text: str) -> Counter[str]:
    """Activity -> ps, from the text of a file of folded stacks."""
    times: Counter[str] = Counter()
    hows = {f"[{how}]" for how in HOWS}
    for line in text.splitlines():
        stack, _, time = line.rpartition(" ")
        frames = stack.split(";")
        times[frames[-2] if frames[-1] in hows else frames[-1]] += int(time)
    return times
