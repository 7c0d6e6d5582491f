"""What pages would load from other places when they are read. Links that readers follow are not meant."""

from __future__ import annotations

import re
from pathlib import Path

_LOADED = re.compile(
    r"<(?:script|img|iframe|source|video|audio|embed)\b[^>]*?\bsrc=[\"']((?:https?:)?//[^\"']+)"
    r"|<link\b(?=[^>]*\brel=[\"'](?:stylesheet|preload|preconnect|icon|modulepreload)[\"'])"
    r"[^>]*?\bhref=[\"']((?:https?:)?//[^\"']+)",
    re.IGNORECASE,
)
_STYLE = re.compile(r"(?:@import\s+|url\()\s*[\"']?((?:https?:)?//[^\"')\s]+)", re.IGNORECASE)


def loaded_from_outside(folder: Path) -> list[tuple[str, str]]:
    """(Page or style sheet, address) of each file that the site below *folder* would fetch elsewhere."""
    found = []
    for path in sorted(folder.rglob("*")):
        if path.suffix in (".html", ".css"):
            text = path.read_text(encoding="utf-8")
            hits = _STYLE.findall(text) if path.suffix == ".css" else map("".join, _LOADED.findall(text))
            found += [(path.relative_to(folder).as_posix(), address) for address in hits]
    return found
