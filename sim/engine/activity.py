"""What time is spent on: the names under which a cpu's account is kept."""

from __future__ import annotations

from collections import Counter
from typing import Final

_SLOTS: Final[dict[str, int]] = {}
_NAMES: Final[list[str]] = []

SPARE: Final = 64
"""Slots that an account has for activities that are named after it was opened."""


class Activity:
    """A row of every account, called *name*: a constant of the module whose code spends time on it.

        ZERO = Activity("zero")

    Two of one name are one row, and each is as good a key as its name (`cpu.spent[ZERO]`). *slot* is its
    place in an account, which is a list: charging is the most frequent thing that the model does, and must
    not look a name up.
    """

    __slots__ = ("name", "slot")

    def __init__(self, name: str) -> None:
        self.name = name
        slot = _SLOTS.get(name)
        if slot is None:
            slot = _SLOTS[name] = len(_NAMES)
            _NAMES.append(name)
        self.slot = slot

    def __repr__(self) -> str:
        return self.name

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Activity):
            return other.slot == self.slot
        return isinstance(other, str) and other == self.name

    def __hash__(self) -> int:
        return hash(self.name)


def blank_account() -> list[int]:
    """An account in which nothing was spent: ps by slot."""
    return [0] * (len(_NAMES) + SPARE)


def by_name(account: list[int]) -> Counter[str]:
    """What *account* says, without its empty rows: name -> ps, in the order of the names."""
    return Counter(dict(sorted((_NAMES[slot], time) for slot, time in enumerate(account) if time)))
