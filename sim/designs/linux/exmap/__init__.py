"""exmap: memory whose pages the program itself allocates and frees, by a kernel module."""

from sim.designs.linux.exmap.calls import exmap_alloc, exmap_free, exmap_read
from sim.designs.linux.exmap.context import Exmap
from sim.designs.linux.exmap.setup import exmap_setup, mmap_exmap

__all__ = ["Exmap", "exmap_alloc", "exmap_free", "exmap_read", "exmap_setup", "mmap_exmap"]
