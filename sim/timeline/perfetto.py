"""The timeline as a file that Perfetto opens (https://ui.perfetto.dev): tracks of slices, arrows, counters.

Time in the file is in ns, rounded down, as Perfetto counts it. Each slice of an activity says in `ps` what
the account was charged for it, less the handlers inside it; charges outside the measured part stand under
`ps not measured`. Sums are exact with these, not with the slices' lengths.

Source: protos/perfetto/trace of Perfetto 0.59 (track_event, track_descriptor, interned_data .proto).
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, Final

from sim.quantities import PS_PER_NS
from sim.timeline.spans import Frame, Leaf, Moment

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sim.timeline.shown import Shown, Track
    from sim.timeline.spans import Event, Notes

SEQUENCE: Final = 1
"""All packets are of one writer, whose names are stored once."""
ROOT: Final = 1
"""Track of the point, above those of its cpus; these follow it in their order."""

MEASURED: Final = "ps"
NOT_MEASURED: Final = "ps not measured"


class _Names:
    """Strings that are stored once in a file, and then called by number."""

    def __init__(self) -> None:
        self._numbers: dict[tuple[str, str], int] = {}

    def of(self, packet: Any, kind: str, text: str) -> int:
        """The number of *text*; *packet* introduces it if it is new."""
        number = self._numbers.get((kind, text))
        if number is None:
            number = self._numbers[kind, text] = len(self._numbers) + 1
            entry = getattr(packet.interned_data, kind).add(iid=number)
            if kind == "debug_annotation_string_values":
                entry.str = text.encode()
            else:
                entry.name = text
        return number


def encode(shown: Shown, title: str) -> bytes:
    """The file of what is *shown*, under *title*."""
    from perfetto.trace_builder.proto_builder import TraceProtoBuilder

    builder = TraceProtoBuilder()
    _describe(builder, ROOT, title, None, 0)
    arrows = _whole(event for track in shown.tracks for event in track.events)
    names = _Names()
    for number, track in enumerate(shown.tracks):
        _describe(builder, ROOT + 1 + number, track.name, ROOT, len(shown.counters) + number)
    for number, (name, points) in enumerate(shown.counters.items()):
        uuid = ROOT + 1 + len(shown.tracks) + number
        _describe(builder, uuid, name, ROOT, number, counter=True)
        for at, value in points:
            packet = builder.add_packet()
            packet.timestamp = at // PS_PER_NS
            packet.trusted_packet_sequence_id = SEQUENCE
            packet.track_event.type = packet.track_event.TYPE_COUNTER
            packet.track_event.track_uuid = uuid
            packet.track_event.counter_value = value
    first = builder.add_packet()
    first.trusted_packet_sequence_id = SEQUENCE
    first.sequence_flags = first.SEQ_INCREMENTAL_STATE_CLEARED
    for number, track in enumerate(shown.tracks):
        _write(builder, ROOT + 1 + number, track, names, arrows)
    return bytes(builder.serialize())


def _describe(
    builder: Any, uuid: int, name: str, parent: int | None, rank: int, *, counter: bool = False
) -> None:
    packet = builder.add_packet()
    packet.trusted_packet_sequence_id = SEQUENCE
    track = packet.track_descriptor
    track.uuid = uuid
    track.name = name
    if parent is None:
        track.child_ordering = track.EXPLICIT
    else:
        track.parent_uuid = parent
        track.sibling_order_rank = rank
    if counter:
        track.counter.SetInParent()


def _whole(events: Iterable[Event]) -> frozenset[int]:
    """The arrows both of whose ends are drawn."""
    ends: Counter[int] = Counter()
    for event in events:
        if event.opens is not None and not event.again:
            ends.update(event.opens.flows)
    return frozenset(flow for flow, count in ends.items() if count > 1)


def _write(builder: Any, uuid: int, track: Track, names: _Names, arrows: frozenset[int]) -> None:
    for each in track.events:
        packet = builder.add_packet()
        packet.timestamp = each.time // PS_PER_NS
        packet.trusted_packet_sequence_id = SEQUENCE
        event = packet.track_event
        event.track_uuid = uuid
        opens = each.opens
        if opens is None:
            event.type = event.TYPE_SLICE_END
            continue
        packet.sequence_flags = packet.SEQ_NEEDS_INCREMENTAL_STATE
        event.type = event.TYPE_INSTANT if isinstance(opens, Moment) else event.TYPE_SLICE_BEGIN
        event.name_iid = names.of(packet, "event_names", opens.name)
        event.category_iids.append(names.of(packet, "event_categories", _category(opens)))
        notes: Notes = dict(opens.notes)
        if isinstance(opens, Leaf):
            notes |= {name: time for name, time in _charged(opens) if time}
        if each.again:
            notes["goes on"] = "yes"
        else:
            event.flow_ids.extend(flow for flow in opens.flows if flow in arrows)
        for name, value in notes.items():
            annotation = event.debug_annotations.add(
                name_iid=names.of(packet, "debug_annotation_names", name)
            )
            if isinstance(value, int):
                annotation.int_value = value
            else:
                number = names.of(packet, "debug_annotation_string_values", value)
                annotation.string_value_iid = number


def _charged(leaf: Leaf) -> tuple[tuple[str, int], ...]:
    return (MEASURED, leaf.counted), (NOT_MEASURED, leaf.other)


def _category(opens: Frame | Leaf | Moment) -> str:
    if isinstance(opens, Frame):
        return opens.category
    return opens.activity if isinstance(opens, Leaf) else "moment"
