"""The documents of a person in one ZIP archive with an index, made while it is sent.

Nothing is written to a file here, and one chunk of one document is in memory at a time. The index
comes last, so that it tells of each document whether it could be opened.
"""

import hashlib
import unicodedata
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from html import escape
from typing import IO, cast
from uuid import UUID
from zipfile import ZIP_STORED, ZipFile, ZipInfo

from api.client.schemas.case_documents import ListedDocument
from api.client.schemas.personal import HeldBackGround, Language
from api.paper.subject_access.wording import Wording
from ledger.refusals import Refusal
from ledger.signing.country_key import SealError
from ledger.vocabulary.action import LedgerModel
from ledger.vocabulary.documents import CaseDocument
from ledger.vocabulary.levels import FieldGroup
from ledger.vocabulary.types import UtcDatetime

Content = Callable[[ListedDocument], tuple[str, Iterator[bytes]]]
"""Opens a document for the person: the suffix of its file, and its content in parts.

Raises ``Refusal`` or ``SealError`` if it does not open."""


class DocumentState(StrEnum):
    """The standing of a document in an archive."""

    GIVEN = "given"
    ELSEWHERE = "elsewhere"
    """The content is at the node of the country that added it."""
    HELD_BACK = "held_back"
    DAMAGED = "damaged"
    """The content does not open, or has another digest than was signed."""


class ArchivedDocument(LedgerModel):
    """A line of the index."""

    id: UUID
    case_id: UUID
    agency: str
    country: str
    added_at: UtcDatetime
    group: FieldGroup | None
    document: CaseDocument
    state: DocumentState
    ground: HeldBackGround | None = None
    """The ground on which it is held back."""
    file: str | None = None
    """Its name in the archive. A damaged one may be incomplete."""


class ArchiveIndex(LedgerModel):
    """The documents of a person that a country's vault names."""

    case_id: UUID
    country: str
    language: Language
    made_at: UtcDatetime
    documents: tuple[ArchivedDocument, ...]


def archive(
    case_id: UUID,
    country: str,
    made_at: datetime,
    documents: Sequence[ListedDocument],
    held_back: Mapping[UUID, HeldBackGround],
    content: Content,
    countries: Mapping[str, str],
    words: Wording,
) -> Iterator[bytes]:
    """Yield the archive as it is made: each document that may be given, then the index.

    ``countries`` has the country of each agency.
    """
    sink = _Sink()
    lines: list[ArchivedDocument] = []
    with ZipFile(cast("IO[bytes]", sink), "w", ZIP_STORED) as made:
        for number, one in enumerate(documents, 1):
            added = one.signatures[0].acted_at
            line = ArchivedDocument(
                id=one.id,
                case_id=one.case_id,
                agency=one.agency,
                country=countries.get(one.agency, country),
                added_at=added,
                group=one.group,
                document=one.document,
                state=DocumentState.GIVEN if one.is_here else DocumentState.ELSEWHERE,
            )
            if one.id in held_back:
                held = {"state": DocumentState.HELD_BACK, "ground": held_back[one.id]}
                line = line.model_copy(update=held)
            if line.state is DocumentState.GIVEN:
                try:
                    suffix, parts = content(one)
                    name = f"documents/{number:04}-{one.id}.{suffix}"
                    digest = hashlib.sha256()
                    line = line.model_copy(update={"file": name})
                    with made.open(_member(name, made_at), "w") as member:
                        for part in parts:
                            digest.update(part)
                            member.write(part)
                            yield from sink.taken()
                    if digest.hexdigest() != one.document.sha256:
                        line = line.model_copy(update={"state": DocumentState.DAMAGED})
                except (Refusal, SealError):
                    line = line.model_copy(update={"state": DocumentState.DAMAGED})
            yield from sink.taken()
            lines.append(line)
        index = ArchiveIndex(
            case_id=case_id,
            country=country,
            language=words.language,
            made_at=made_at,
            documents=tuple(lines),
        )
        made.writestr(_member("index.json", made_at), index.model_dump_json(indent=2))
        made.writestr(_member("index.html", made_at), index_page(index, words))
    yield from sink.taken()


def index_page(index: ArchiveIndex, words: Wording) -> str:
    """Return the index as a page in the person's language. It loads nothing and runs nothing."""
    text = words.text
    heads = ("title", "kind", "added_by", "added", "size", "digest", "state")
    lines = "\n".join(_row(one, words) for one in index.documents)
    columns = "".join(f'<th scope="col">{escape(text(f"archive.{head}"))}</th>' for head in heads)
    intro = escape(text("archive.intro", country=words.country(index.country)))
    made = escape(text("about.made", moment=words.moment(index.made_at)))
    table = (
        f"<table><thead><tr>{columns}</tr></thead><tbody>\n{lines}\n</tbody></table>"
        if index.documents
        else f"<p>{escape(text('archive.none'))}</p>"
    )
    return f"""<!doctype html>
<html lang="{escape(words.language)}">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<title>{escape(text("archive.heading"))}</title>
<style>
body {{ font: 1rem/1.5 sans-serif; margin: 2rem; }}
table {{ border-collapse: collapse; }}
th, td {{ border: 1px solid #777; padding: .3rem .6rem; text-align: left; vertical-align: top; }}
code {{ overflow-wrap: anywhere; }}
</style>
</head>
<body>
<h1>{escape(text("archive.heading"))}</h1>
<p>{intro}</p>
{table}
<p>{made}</p>
</body>
</html>
"""


def _row(one: ArchivedDocument, words: Wording) -> str:
    """Return a row of the table: the title leads to the file, where it is given."""
    described = one.document
    title = escape(_visible(described.title))
    if one.file is not None and one.state is DocumentState.GIVEN:
        title = f'<a href="{escape(one.file)}">{title}</a>'
    cells = (
        title,
        escape(words.picked(described.document_kind)),
        escape(f"{words.agency_name(one.agency)}, {words.country(one.country)}"),
        escape(words.moment(one.added_at)),
        escape(f"{words.number(Decimal(described.size))} B"),
        f"<code>{described.sha256}</code>",
        escape(_state(one, words)),
    )
    return f"<tr>{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>"


def _visible(text: str) -> str:
    """Return a text in which each character that acts on others and is not seen is its number."""
    return "".join(
        f"[U+{ord(c):04X}]" if unicodedata.category(c) in ("Cc", "Cf") else c for c in text
    )


def _state(one: ArchivedDocument, words: Wording) -> str:
    ground = words.picked(one.ground) if one.ground is not None else ""
    country = words.country(one.country)
    return words.text(f"archive.{one.state}", ground=ground, country=country)


def _member(name: str, at: datetime) -> ZipInfo:
    info = ZipInfo(name, (at.year, at.month, at.day, at.hour, at.minute, at.second))
    info.external_attr = 0o600 << 16
    return info


class _Sink:
    """A stream that cannot be read or sought: it keeps the bytes until they are taken."""

    def __init__(self) -> None:
        self._kept: list[bytes] = []

    def write(self, data: bytes) -> int:
        self._kept.append(bytes(data))
        return len(data)

    def flush(self) -> None:
        """Do nothing: the bytes are kept until they are taken."""

    def taken(self) -> Iterator[bytes]:
        kept, self._kept = self._kept, []
        yield from kept
