"""A page table of its own for each node: numaPTE and Mitosis."""
