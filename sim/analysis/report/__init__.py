"""A run as one page: who scales, where it stops and why, and how far to trust it."""

from sim.analysis.report.page import write_report

__all__ = ["write_report"]
