"""The documents of this project, cut into what a test can look at: blocks, links, commands.

A block ``console`` is what a terminal shows: ``$ `` stands before a command, and what follows is
its output. A block ``python`` or ``toml`` that begins with a comment of one word, ``# NAME``, is
the file of that name, for the commands of the same page. A block ``sh`` is not run.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
# The pages that are run and read closely; then all there are, reports included.
PAGES = sorted([ROOT / "README.md", ROOT / "CHANGELOG.md", *(ROOT / "docs").glob("*.md")])
ALL_PAGES = sorted({*PAGES, *(ROOT / "docs").rglob("*.md")})

# Programs of the documents that may be missing on a machine.
TOOLS = ("telnet", "nc", "openssl", "socat", "curl")
# The netcat that the documents mean; other ones have other options.
NETCAT = "nc.openbsd"

_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
_FILE = re.compile(r"# (\S+\.\w+)\n")
_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
_HEADING = re.compile(r"^#+ (.*)$", re.MULTILINE)


@dataclass(frozen=True)
class Block:
    """One fenced block: what kind it is, its text, and the line where it begins."""

    kind: str
    text: str
    line: int

    @property
    def file(self) -> str | None:
        """The name of the file that this block is, or None."""
        match = _FILE.match(self.text) if self.kind in {"python", "toml"} else None
        return match[1] if match else None

    def commands(self) -> Iterator[tuple[str, str]]:
        """Give each command of a terminal's block with the output that the document shows."""
        for part in re.split(r"^\$ ", self.text, flags=re.MULTILINE)[1:]:
            command, _, output = part.partition("\n")
            yield command, output


def blocks(page: Path) -> list[Block]:
    """Return the fenced blocks of a page, in order."""
    text = page.read_text()
    return [
        Block(match[1], match[2], text.count("\n", 0, match.start()) + 1)
        for match in _FENCE.finditer(text)
    ]


def prose(page: Path) -> str:
    """Return a page without its fenced blocks."""
    return _FENCE.sub("", page.read_text())


def links(page: Path) -> list[str]:
    """Return where the links of a page lead."""
    return _LINK.findall(prose(page))


def anchors(page: Path) -> set[str]:
    """Return the anchors of a page's headings, as they are made of them on the web."""
    made = set()
    for heading in _HEADING.findall(prose(page)):
        plain = re.sub(r"[`*\[\]]|\(.*?\)", "", heading).lower()
        made.add(re.sub(r"[^\w\- ]", "", plain).strip().replace(" ", "-"))
    return made


def tools(page: Path) -> tuple[str, ...]:
    """Return the programs, among those that may be missing, which a page's commands start."""
    commands = " ".join(
        command
        for block in blocks(page)
        if block.kind == "console"
        for command, _ in block.commands()
    )
    started = [name for name in TOOLS if re.search(rf"\b{name} ", commands)]
    return tuple(NETCAT if name == "nc" else name for name in started)
