"""Workload files of version 0.1: benches, which were a language of their own, in today's.

family: bench                      (left out)
rounds: 40                         requests: 40
placement: threads                 placements: {threads: {}}
spaces: {count, pages, apart}      processes, layout, and a set-up that maps and touches each region
discard, touch, shootdown          at a slot
switch_space                       switch_mm
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sim.quantities import PAGE_BYTES, UnitError, format_size, parse_size

_RENAMED = {"rounds": "requests", "switch_space": "switch_mm", "discard": "madvise"}


def in_new_form(raw: Mapping[str, Any]) -> Mapping[str, Any]:
    """*raw*, what a workload file says, in today's form.

    What is in it already is left as it is, and so are design files, which have families but no `roles`.
    """
    if raw.get("family") != "bench" or "roles" not in raw:
        return raw
    new = {_RENAMED.get(key, key): value for key, value in raw.items() if key != "family"}
    if isinstance(placement := new.pop("placement", None), str):
        new["placements"] = {placement: {}}
    spaces, roles = new.pop("spaces", None), new.get("roles")
    region = _Region(spaces) if isinstance(spaces, Mapping) else None
    if isinstance(roles, list | tuple):
        new["roles"] = [_role(role, region) for role in roles]
    if region is not None:
        count = region.spaces.get("count", 1)
        size = region.bytes(region.spaces.get("pages"))
        new["processes"] = count
        new["layout"] = {"request": size, "stride": size, "slots": 1}
        new["setup"] = [{"mmap": {"at": "layout"}}]
    return new


class _Region:
    """What `spaces` said: so many pages for each thread, so far apart."""

    def __init__(self, spaces: Mapping[str, Any]) -> None:
        self.spaces = spaces
        try:
            self.apart = parse_size(spaces.get("apart", "1 page"))
        except UnitError:
            self.apart = PAGE_BYTES

    def bytes(self, pages: Any) -> Any:
        """The size of *pages* of its pages; what is no number is left to be refused."""
        return format_size(pages * self.apart) if isinstance(pages, int) else pages

    def at_slot(self, step: Mapping[str, Any]) -> dict[str, Any]:
        """A step over its first pages as one at a slot."""
        new = {key: value for key, value in step.items() if key != "region"} | {"at": "slot"}
        if self.apart > PAGE_BYTES:
            new["every"] = self.apart // PAGE_BYTES
        if step.get("region") == "first":
            new["of"] = "first"
        return new

    def prepare(self) -> list[dict[str, Any]]:
        """Each thread touches its region in each of the address spaces."""
        return [{"touch": self.at_slot({})}]


def _role(role: Any, region: _Region | None) -> Any:
    if not isinstance(role, Mapping):
        return role
    new = dict(role)
    if isinstance(steps := role.get("steps"), list | tuple):
        new["steps"] = [_step(step, region) for step in steps]
    if region is not None:
        new["prepare"] = region.prepare()
    return new


def _step(step: Any, region: _Region | None) -> Any:
    if not isinstance(step, Mapping):
        return step
    new: dict[str, Any] = {}
    for key, value in step.items():
        inside = value.get("steps") if key == "seq_read" and isinstance(value, Mapping) else None
        if key == "timed" and isinstance(value, list | tuple):
            value = [_step(inner, region) for inner in value]
        elif isinstance(inside, list | tuple):
            value = {**value, "steps": [_step(inner, region) for inner in inside]}
        elif key in ("touch", "shootdown", "discard") and region is not None and isinstance(value, Mapping):
            value = region.at_slot(value)
        new[_RENAMED.get(str(key), str(key))] = value
    return new
