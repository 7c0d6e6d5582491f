"""Damaged and foreign files: what a disk, an editor, another program or a later version leaves behind.

`damages` makes variants of a good file, always the same ones for the same name; `OTHER_PROGRAMS` are files
that somebody mistook for ours; `SPECIAL` puts something at a path that is no regular file.
"""

from __future__ import annotations

import gzip
import json
import os
import random
import re
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

from sim.analysis.published import COLUMNS

Put = Callable[[Path], None]

_PNG = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\x01\0\0\0\x01\x08\x02\0\0\0\x90wS\xde"
_NOTEBOOK = {"cells": [{"cell_type": "code", "source": ["import sim"]}], "nbformat": 4, "nbformat_minor": 5}
OTHER_PROGRAMS = {
    "png": _PNG + bytes(range(256)) * 4,
    "gzip": gzip.compress(b"design,machine\n" * 50, mtime=0),
    "zip": b"PK\x03\x04" + bytes(200),
    "elf": b"\x7fELF\x02\x01\x01" + bytes(200),
    "parquet": b"PAR1" + bytes(100) + b"PAR1",
    "json object": b'{"name": "web", "version": 3, "scripts": {"build": "make"}}\n',
    "json list": b"[1, 2, [3, {}]]\n",
    "json text": b'"only a word"\n',
    "ini": b"[core]\nname = x\n; note\n[other]\nthreads = 1\n",
    "xml": b'<?xml version="1.0"?>\n<!DOCTYPE a [<!ENTITY b "b">]>\n<a x="1">&b;</a>\n',
    "csv": b"date,price\n2024-01-01,17\n2024-01-02,18\n",
    "semicolons": b"design;machine;threads\nlinux;m;1,5\n",
    "notebook": json.dumps(_NOTEBOOK).encode(),
    "script": b'#!/bin/sh\nset -e\nfor i in *; do echo "$i"; done\n',
    "log": b"[    0.000000] Linux version 6.13 (gcc 13)\n[    0.000000] Command line: quiet\n" * 20,
    "future": b"name: x\nformat_version: 99\nera: 2031\n",
}
_LAUGHS = b"a: &a [x, x, x, x, x, x, x, x, x]\n" + b"".join(
    f"{name}: &{name} [{', '.join([f'*{before}'] * 9)}]\n".encode()
    for before, name in zip("abcdefgh", "bcdefghi", strict=True)
)
MONSTERS = {
    "empty": b"",
    "a newline": b"\n",
    "blanks": b"   \n\t\n \r\n",
    "zeros": bytes(4096),
    "a long line": b"x" * 300_000,
    "a long value": b"name: " + b"9" * 20_000 + b"\n",
    "brackets": b"[" * 100_000,
    "braces": b'{"a":' * 50_000,
    "laughs": _LAUGHS,
    "many lines": b"threads: 1\n" * 20_000,
    "not text": bytes(range(256)) * 8,
    "alone quote": b'a,b\n"c,d\n',
    "surrogate": b"name: \xed\xa0\x80\n",
}
_NUMBER = re.compile(rb"(?<![A-Za-z0-9_.-])\d+(?:\.\d+)?")
_WORD = re.compile(rb"[A-Za-z_]{3,}")
_NO_NUMBERS = (
    b"9" * 400, b"1e999", b"-1", b"0", b"nan", b"inf", b"-inf", b"1_000", b"0x10", b"1e300", b"1e-320", b"",
    b"many", b"null", b"[1]", b"{}", b"true", b"\xd9\xa3", b"1.5", b"1e18", b"99999999", b"2**9", b"-0.0",
)  # fmt: skip
_NO_WORDS = (
    b"",
    b"nmae",
    b"$x_{$",
    b"../..",
    b"[/]",
    b"\x1b[31m",
    b"a" * 5000,
    b"*",
    b"&a",
    b"-",
    b"~",
    b"'",
)


def damages(good: bytes, name: str, count: int) -> Iterator[tuple[str, bytes]]:
    """*count* variants of a *good* file with what was done to it, drawn by a generator seeded with *name*."""
    draw = random.Random(name)
    yield "byte order mark", b"\xef\xbb\xbf" + good
    yield "CRLF", good.replace(b"\n", b"\r\n")
    yield "old Mac", good.replace(b"\n", b"\r")
    yield "UTF-16", good.decode().encode("utf-16")
    yield "Latin-1", good.replace(b"e", b"\xe9", 3)
    yield "twice", good + good
    yield "NUL", good[: len(good) // 2] + b"\0" + good[len(good) // 2 :]
    yield "compressed", gzip.compress(good, mtime=0)
    for _ in range(count - 8):
        kind = draw.choice(("cut", "flip", "number", "number", "word", "line", "junk"))
        yield kind, _damaged(good, kind, draw)


def _damaged(good: bytes, kind: str, draw: random.Random) -> bytes:
    place = draw.randrange(len(good))
    if kind == "cut":
        return good[:place]
    if kind == "flip":
        return good[:place] + bytes([good[place] ^ 1 << draw.randrange(8)]) + good[place + 1 :]
    if kind in ("number", "word"):
        found = list((_NUMBER if kind == "number" else _WORD).finditer(good))
        at = draw.choice(found)
        other = draw.choice(_NO_NUMBERS if kind == "number" else _NO_WORDS)
        return good[: at.start()] + other + good[at.end() :]
    if kind == "line":
        lines = good.splitlines(keepends=True)
        moved = lines.pop(draw.randrange(len(lines)))
        lines.insert(draw.randint(0, len(lines)), moved * draw.randint(0, 3))
        return b"".join(lines)
    return good[:place] + draw.randbytes(20) + good[place:]


def _socket(path: Path) -> None:
    before = os.getcwd()
    os.chdir(path.parent)  # the name of a socket is short
    try:
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(path.name)
    finally:
        os.chdir(before)


def _unreadable(path: Path) -> None:
    path.write_text("name: x\n")
    path.chmod(0)


SPECIAL: dict[str, Put] = {
    "a pipe": os.mkfifo,
    "a folder": Path.mkdir,
    "nothing": lambda path: None,
    "a link to nothing": lambda path: path.symlink_to("nowhere/at all"),
    "a link to itself": lambda path: path.symlink_to(path.name),
    "a link to a pipe": lambda path: (os.mkfifo(f"{path}-pipe"), path.symlink_to(f"{path}-pipe"))[1],
    "/dev/zero": lambda path: path.symlink_to("/dev/zero"),
    "/dev/full": lambda path: path.symlink_to("/dev/full"),
    "/dev/tty": lambda path: path.symlink_to("/dev/tty"),
    "a socket": _socket,
    "unreadable": _unreadable,
}

_LOOP = (
    "name: loop\ntitle: what a benchmark's loop does\nrequests: 2\nmeasured: {first: 0, last: 1}\n"
    "stack: {size: 8 MiB, touched: 4 pages}\nplacements: {threads: {}}\n"
)
_ASK = (
    "name: ask\nmachine: machine\ndesigns: [linux-6.13]\nworkloads: [loop]\nthreads: [1, 2]\n"
    "budget: {events: 20000}\n"
)
_MACHINE = "name: machine\ninherits: xeon-6252x2\n"
_LAYOUT = "layout: {request: 64 KiB, stride: 2 MiB, order: own}\n"
_MAP = "thread:\n  - mmap: {at: anywhere}\n  - touch: {at: mapped}\n  - munmap: {at: mapped}\n"
_BENCH = (
    "name: loop\nfamily: bench\nplacement: threads\nwindow: {warm_up: 1 us, length: 20 us, skew: 1 us}\n"
    "roles: [{who: all, steps: [{discard: {}}, {touch: {}}]}]\n"
)
QUESTIONS: dict[str, dict[str, str]] = {
    "a request as long as its stride": {
        "loop.yaml": _LOOP + "layout: {request: 4 MiB, stride: 4 MiB, order: own}\n" + _MAP
    },
    "a loop with a stride that fits": {"loop.yaml": _LOOP + _LAYOUT + _MAP},
    "a mapping larger than memory": {
        "loop.yaml": _LOOP + "layout: {request: 1 TiB, stride: 2 TiB, order: own}\n" + _MAP
    },
    "nodes too small for what is touched": {
        "machine.yaml": _MACHINE + "memory: {size_per_socket: 64 MiB}\n",
        "loop.yaml": _LOOP + "layout: {request: 48 MiB, stride: 64 MiB, order: own}\n" + _MAP,
    },
    "pages discarded apart": {"loop.yaml": _BENCH + "spaces: {pages: 1, apart: 2 MiB}\n"},
    "pages discarded side by side": {"loop.yaml": _BENCH + "spaces: {pages: 1}\n"},
    "roles that map": {
        "loop.yaml": _LOOP + _LAYOUT + "roles: [{who: first, steps: [{mmap: {at: anywhere, size: 1 MiB}}]}]\n"
    },
    "an exclude about a machine that is not asked": {
        "loop.yaml": _LOOP + _LAYOUT + _MAP,
        "ask.yaml": _ASK + 'exclude: [{machine: desktop-8, threads: "> 8"}]\n',
    },
    "siblings of one core": {
        "machine.yaml": _MACHINE + "topology: {threads_per_core: 2, smt_slowdown: 1.6}\n",
        "loop.yaml": _LOOP + _LAYOUT + _MAP,
    },
    "a guest of one node": {
        "machine.yaml": _MACHINE + "guest: true\ntopology: {sockets: 1, cores_per_cluster: 8}\n",
        "loop.yaml": _LOOP + _LAYOUT + _MAP,
    },
    **{
        f"the step {step.split(':')[0]}": {"loop.yaml": f"{_LOOP}{_LAYOUT}thread: [{{{step}}}]\n"}
        for step in (
            "mprotect: {at: mapped, allow: read}", "mremap: {size: 8 KiB}", "fork: {}", "mlock: {of: mapped}",
            "brk: {grow: 4 KiB}", "madvise: {advice: dontneed}", "read: {file: data, bytes: 4 KiB}",
            "mmap: {at: anywhere, shared: true}", "mmap: {populate: true}", "exec: {}",
        )
    },
    "a matrix of latencies as measurements": {
        "loop.yaml": _LOOP + _LAYOUT + _MAP,
        "data.csv": ",,,\n22.1,,,\n20.1,20.7,,\n41.5,40.9,21.0,\n",
    },
    "a machine beside the measurements": {
        "loop.yaml": _LOOP + _LAYOUT + _MAP,
        "data.csv": ",".join(COLUMNS)
        + "\nmine,machine,linux-6.13,loop,threads,1,throughput,400,kops/s,exact,0.25,check,made up\n",
    },
}  # fmt: skip
"""Files that real questions led to, by what is asked; `REST` is added where they lack it."""
REST = {"ask.yaml": _ASK, "machine.yaml": _MACHINE}
