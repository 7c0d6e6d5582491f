"""The notebooks in `notebooks/`, committed with what they print and draw, and held to it.

    running.py    executes a notebook, and leaves out of it whatever is not the same the next time
    update.py     `python -m tests.notebooks.update` executes all and writes those that changed

The test (tests/analysis/test_notebooks.py) executes each again: what it prints has to be what is committed.
"""
