"""Memory-management designs, one package each."""

from sim.designs.base import DesignSpec, Family, Kernel
from sim.designs.registry import build, families, plugin_of, refusal, spec_model

__all__ = ["DesignSpec", "Family", "Kernel", "build", "families", "plugin_of", "refusal", "spec_model"]
