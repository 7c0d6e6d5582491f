"""Pages of the command line, from the parsers of its commands."""

from __future__ import annotations

import argparse
from collections.abc import Iterator

from source import Page
from text import table

from sim.cli import parser

FOLDER = "reference/commands"


def command_pages() -> Iterator[Page]:
    """A page a command, and one that lists them."""
    program = parser()
    rows, names = [], []
    for name, summary, command in subcommands(program):
        yield Page(f"{FOLDER}/{name}.md", command_page(command, summary))
        rows.append((f"[`cortensim {name}`]({name}.md)", _sentence(summary)))
        names.append(name)
    yield Page(
        f"{FOLDER}/index.md",
        "# Command line\n\nEach command says the same with `--help`. Exit codes: 0 done, 1 a check or point "
        "failed, 2 bad input, 130 stopped.\n\n"
        + table(("command", "what it does"), rows)
        + "\n```{toctree}\n:hidden:\n\n"
        + "".join(f"{name}\n" for name in names)
        + "```\n",
    )


def subcommands(command: argparse.ArgumentParser) -> Iterator[tuple[str, str, argparse.ArgumentParser]]:
    """Name, line of help and parser of each command below *command*."""
    for action in command._actions:
        if isinstance(action, argparse._SubParsersAction):
            helps = {choice.dest: choice.help or "" for choice in action._choices_actions}
            for name, below in action.choices.items():
                yield name, helps.get(name, ""), below


def command_page(command: argparse.ArgumentParser, summary: str) -> str:
    """What `--help` says of a command and of those below it."""
    text = f"# {command.prog}\n\n{_sentence(summary)}\n\n" + _body(command)
    for _, line, below in subcommands(command):
        text += f"## {below.prog}\n\n{_sentence(line)}\n\n" + _body(below)
    return text


def _body(command: argparse.ArgumentParser) -> str:
    usage = command.format_usage().removeprefix("usage: ")
    text = f"{_escaped(command.description or '')}\n\n```text\n{usage}```\n\n"
    text += f"```{{program}} {command.prog}\n```\n\n"
    shown = [action for action in command._actions if not isinstance(action, argparse._SubParsersAction)]
    return text + "".join(_argument(command, action) for action in shown if action.dest != "help")


def _argument(command: argparse.ArgumentParser, action: argparse.Action) -> str:
    value = "" if action.nargs == 0 else _value(action)
    names = ", ".join(f"{name} {value}".strip() for name in action.option_strings) or value
    said = command._get_formatter()._expand_help(action) if action.help else ""
    if action.choices is not None:
        said += f"{'.' if said else ''} One of: " + ", ".join(f"`{choice}`" for choice in action.choices)
    return f"````{{option}} {names}\n{_sentence(said)}\n````\n\n"


def _value(action: argparse.Action) -> str:
    """What stands for the value of an argument."""
    name = action.metavar or (action.dest.upper() if action.option_strings else action.dest)
    if action.choices is not None and action.metavar is None:
        name = "{" + ",".join(map(str, action.choices)) + "}"
    return " ".join(name) if isinstance(name, tuple) else name


def _sentence(text: str) -> str:
    return _escaped(text[:1].upper() + text[1:] + ("" if text.endswith((".", "`", "?")) or not text else "."))


def _escaped(text: str) -> str:
    """Help is plain text with `code` in it; what else Markdown would take for its own is escaped."""
    parts = text.split("`")
    prose = [part.replace("*", r"\*").replace("<", r"\<").replace("[", r"\[") for part in parts[::2]]
    return "".join(
        part + (f"`{word}`" if word else "") for part, word in zip(prose, [*parts[1::2], ""], strict=True)
    )
