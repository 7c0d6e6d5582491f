"""The command `cortensim`: arguments, messages, and what `list`, `show` and `init` print and write."""

from sim.cli.command_line import main, parser

__all__ = ["main", "parser"]
