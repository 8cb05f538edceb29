"""The blocks of a page: commands with the user and the place that they name, and texts to show."""

import re
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass

WHO = {
    "root": ("the node's machine", "the ledger node's machine", "the backup machine"),
    "case-ledger": ("the node's machine",),
    "postgres": ("the database's machine", "the backup machine"),
    "you": ("your own machine", "any machine", "the witness's machine", "in the checkout"),
}
"""Who may be named by a block, and the places."""
_MARK = re.compile(r"(#|--) ([a-z-]+), (?:on )?(.+)")


class PageError(ValueError):
    """A block of a page names nobody; the message has its line."""


@dataclass(frozen=True, slots=True)
class Part:
    """Commands of one block that one user runs at one place."""

    line: int
    user: str
    place: str
    is_sql: bool
    text: str

    def commands(self) -> list[str]:
        """Return each command: a line of a shell with its continuations, or SQL as a whole."""
        if self.is_sql:
            return [self.text]
        found: list[str] = []
        for line in self.text.splitlines():
            is_open = bool(found) and (found[-1].endswith("\\") or found[-1].count('"') % 2 == 1)
            if is_open:
                found[-1] += f"\n{line}"
            elif line.strip():
                found.append(line)
        return found


@dataclass(frozen=True, slots=True)
class Shown:
    """A block that nobody runs, in a language."""

    line: int
    language: str
    text: str


def blocks(page: str) -> Iterator[tuple[int, str | None, str]]:
    """Yield the line, the language and the text of each block of code.

    A block without a fence has no language.
    """
    lines = page.split("\n")
    at = 0
    while at < len(lines):
        first = at
        if fence := re.match(r" *```(\S*)", lines[at]):
            at += 1
            while not re.match(r" *```$", lines[at]):
                at += 1
            text = textwrap.dedent("\n".join(lines[first + 1 : at]))
            yield first + 1, fence[1], text
        elif re.match(r" {4,}\S", lines[at]) and (at == 0 or not lines[at - 1].strip()):
            while at < len(lines) and (lines[at].startswith("    ") or not lines[at].strip()):
                at += 1
            yield first + 1, None, textwrap.dedent("\n".join(lines[first:at])).strip()
            continue
        at += 1


def read(page: str) -> tuple[list[Part], list[Shown]]:
    """Return the parts and the texts of a page.

    Raises ``PageError`` for a block that neither names who runs it nor has a language.
    """
    parts: list[Part] = []
    texts: list[Shown] = []
    for line, language, text in blocks(page):
        if language and language not in ("sh", "sql"):
            texts.append(Shown(line, language, text))
            continue
        first, *_ = text.splitlines()
        if not _named(first):
            raise PageError(f"line {line} does not say who runs it, and where: {first}")
        for number, written in enumerate(text.splitlines()):
            if mark := _named(written):
                parts.append(Part(line + number, mark[2], mark[3], mark[1] == "--", ""))
            else:
                last = parts[-1]
                parts[-1] = Part(
                    last.line, last.user, last.place, last.is_sql, f"{last.text}{written}\n"
                )
    return parts, texts


def _named(line: str) -> re.Match[str] | None:
    mark = _MARK.fullmatch(line.strip())
    return mark if mark and mark[3] in WHO.get(mark[2], ()) else None
