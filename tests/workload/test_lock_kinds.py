"""Is every kind of lock that a file may name made, and does the table say what it can do?"""

from __future__ import annotations

from typing import get_args

from sim.sync import EXCLUSIVE, READER_WRITER, SEQUENCE
from sim.workload import lock_spec, locks


def test_are_the_kinds_of_files_those_of_the_table() -> None:
    (union, _) = get_args(lock_spec.LockSpec)
    in_files = [kind for model in get_args(union) for kind in get_args(model.model_fields["kind"].annotation)]
    table = [*EXCLUSIVE, *READER_WRITER, *SEQUENCE]
    assert sorted(in_files) == sorted(table) == sorted(locks._MAKERS)
