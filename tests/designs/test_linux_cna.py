"""A Linux whose spin locks are NUMA-aware."""

from __future__ import annotations

import pytest

from sim.sync import CnaLock, QueuedSpinLock
from sim.verify.kernels import BASE
from tests.kernels import Process


@pytest.mark.parametrize("aware", [False, True])
def test_are_all_spin_locks_of_one_kind(aware: bool) -> None:
    process = Process("linux", changes={"cna": {"threshold": "10 us"}} if aware else {})
    process.do(("mmap", 1, BASE), ("touch", BASE))
    kernel, mm = process.kernel, process.space
    tables = [table.lock for table in mm.root.tables() if table.lock is not None]
    locks = [mm.page_table_lock, mm.siglock, *tables, *(zone.lock for zone in kernel.pages.zones)]
    assert len(locks) > 3
    assert {type(lock) for lock in locks} == {CnaLock if aware else QueuedSpinLock}
    assert mm.page_table_lock.name == "page_table_lock"
    process.end()
