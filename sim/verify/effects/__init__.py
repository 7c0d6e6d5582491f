"""What each operation does to a process of the model, and the value that the kernel gives: one function each.

    registry    `effect`, by which all are asked
    mappings    what is mapped, and its rights        contents    what is there of it, and files
    morsels, exmap, userfaults                        what not every kernel has

A new operation is one function in one of them (`effect.register`), one that draws it (`drawing`), and nothing
else: what threads may see of each other while it runs follows from its effect (`races`).
"""

from sim.verify.effects import contents, exmap, mappings, morsels, userfaults
from sim.verify.effects.mappings import mremap_is_determined
from sim.verify.effects.registry import effect

__all__ = ["contents", "effect", "exmap", "mappings", "morsels", "mremap_is_determined", "userfaults"]
