"""Memory that has been written before anything is measured: all that is mapped is there, and zeroed."""

from __future__ import annotations

from sim.designs.nros.process import NrosProcess
from sim.engine import Steps
from sim.hardware import Cpu
from sim.mm import WRITE, Errno, Prepopulate


def prepopulate(mm: NrosProcess, cpu: Cpu, asked: Prepopulate) -> Steps[Errno | None]:
    """All pages of the range, up to the first that cannot be written."""
    for page in range(asked.at, asked.at + asked.pages):
        rights = mm.status(page)
        if rights is None:
            return Errno.ENOMEM
        if not rights & WRITE:
            return Errno.EFAULT
    return None
    yield
