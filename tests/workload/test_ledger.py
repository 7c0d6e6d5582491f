"""Do the books of a rehearsal, which cut and search by halves, agree with a set of pages?"""

from __future__ import annotations

from contextlib import suppress
from random import Random

import pytest

from sim.mm import Mmap, Mremap, Munmap, Operation, Touch
from sim.workload.rehearsal import Ledger, RefusedStepError

PAGES = range(100, 160)


def asked(random: Random) -> Operation:
    at, pages = random.choice(PAGES), random.randint(1, 12)
    kind = random.randrange(5)
    if kind == 0:
        return Mmap(pages, at, replace=random.random() < 0.7)
    if kind == 1:
        return Munmap(at, pages)
    if kind == 2:
        return Mremap(at, pages, random.randint(1, 12), may_move=False)
    return Touch(range(at, at + random.randint(1, 3)))


def do(ledger: Ledger, operation: Operation) -> bool:
    """Whether it was carried out."""
    with suppress(RefusedStepError):
        for _ in ledger.perform(None, operation):
            pass
        return True
    return False


@pytest.mark.parametrize("seed", range(40))
def test_is_each_page_mapped_and_touched_that_a_set_has(seed: int) -> None:
    random, ledger = Random(seed), Ledger()
    mapped: set[int] = set()
    touched: set[int] = set()
    for _ in range(120):
        operation = asked(random)
        done = do(ledger, operation)
        if isinstance(operation, Touch):
            assert done == (set(operation.pages) <= mapped)
            for page in operation.pages:
                if page not in mapped:
                    break
                touched.add(page)
        elif isinstance(operation, Mmap):
            assert operation.at is not None
            new = set(range(operation.at, operation.at + operation.pages))
            assert done == (operation.replace or not new & mapped)
            if done:
                mapped |= new
                touched -= new
        elif isinstance(operation, Munmap):
            old = set(range(operation.at, operation.at + operation.pages))
            assert done
            mapped -= old
            touched -= old
        elif isinstance(operation, Mremap):
            old = range(operation.at, operation.at + operation.pages)
            grown = set(range(old.stop, old.start + operation.new_pages))
            possible = set(old) <= mapped and not grown & mapped
            assert done == possible
            if done:
                cut = set(range(old.start + operation.new_pages, old.stop))
                mapped = (mapped | grown) - cut
                touched -= cut
        pages = [page for start, end in ledger.ranges for page in range(start, end)]
        assert pages == sorted(mapped)
        assert ledger.mapped == len(mapped)
        assert ledger.touched == touched
