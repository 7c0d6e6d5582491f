"""Files: YAML -> typed specs, and faults that know their places. The only room that reads YAML."""

from sim.files import presets
from sim.files.disk import (
    display,
    open_regular,
    read_input,
    read_regular,
    real,
    reason,
    write_atomically,
)
from sim.files.document import Document, KeyPath, Position, Provenance, dotted, parse_path
from sim.files.experiment import POINT_KEYS, BudgetSpec, ExperimentSpec
from sim.files.explain import distinct
from sim.files.inheritance import SourceFile, read_inherited
from sim.files.kinds import find_any, kind_of
from sim.files.loader import parse_value, read_document
from sim.files.overrides import (
    MEMBERS,
    Override,
    apply_overrides,
    for_members,
    from_mapping,
    from_parameters,
    from_quick,
    parse_choices,
    parse_names,
    parse_override,
)
from sim.files.presets import KINDS, Kind
from sim.files.ranges import RangeError, expand_ranges, parse_range
from sim.files.resolve import Resolved, load_spec, resolve_spec, validate, variant
from sim.files.schedule import FIFO, ScheduleSpec
from sim.files.schema import write_schemas

__all__ = [
    "FIFO",
    "KINDS",
    "MEMBERS",
    "POINT_KEYS",
    "BudgetSpec",
    "Document",
    "ExperimentSpec",
    "KeyPath",
    "Kind",
    "Override",
    "Position",
    "Provenance",
    "RangeError",
    "Resolved",
    "ScheduleSpec",
    "SourceFile",
    "apply_overrides",
    "display",
    "distinct",
    "dotted",
    "expand_ranges",
    "find_any",
    "for_members",
    "from_mapping",
    "from_parameters",
    "from_quick",
    "kind_of",
    "load_spec",
    "open_regular",
    "parse_choices",
    "parse_names",
    "parse_override",
    "parse_path",
    "parse_range",
    "parse_value",
    "presets",
    "read_document",
    "read_inherited",
    "read_input",
    "read_regular",
    "real",
    "reason",
    "resolve_spec",
    "validate",
    "variant",
    "write_atomically",
    "write_schemas",
]
