"""Memory-management designs, one package each."""

from sim.designs.base import DesignSpec, Family, Kernel
from sim.designs.registry import build, families, spec_model

__all__ = ["DesignSpec", "Family", "Kernel", "build", "families", "spec_model"]
