"""A level-1 table that the page tables of several processes lead to, each by an entry of its own.

Its frame counts those entries as owners (`FrameTable`), as a page's frame does. They all say the same of
writes, so what they say stands with the table:

    A's level-2 entry, no write --.
                                   +--> table: owners of its frame 2, guarded
    B's level-2 entry, no write --'
    A copies it                         table: owners of its frame 1, guarded until B writes, too
"""

from __future__ import annotations


class Sharing:
    """What a table has on it from the time when a second process led to it.

    *guarded*: the entries above forbid writes, so who writes takes a table of its own first. *counted*: each
    of its pages has an owner for each process; else one owner, the table. Then *account* has its pages, and
    the table itself, in its counters, nobody's if it is None.
    """

    __slots__ = ("account", "counted", "guarded")

    def __init__(self, *, guarded: bool, counted: bool, account: object = None) -> None:
        self.guarded = guarded
        self.counted = counted
        self.account = account
