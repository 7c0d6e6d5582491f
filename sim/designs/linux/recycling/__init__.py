"""Flushes that munmap skips for pages that stay with the process (fast page recycling)."""
