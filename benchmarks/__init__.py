"""How fast the simulator is: `python -m benchmarks` measures, prints a table and writes docs/performance.md.

Each part is a module with a `measure(options)` that yields rows of the table. Not installed with the package.
"""
