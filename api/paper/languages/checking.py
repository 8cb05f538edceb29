"""The texts that a language's catalogues lack, and the files in which a translator adds them."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

from babel.messages.catalog import Catalog, Message
from babel.messages.pofile import write_po

from api.paper.languages.catalogue import english, faults, forms_of, id_of, read_catalogue
from api.paper.languages.found import (
    CATALOGUES,
    SOURCE,
    Language,
    LanguageError,
    package_folder,
    read_language,
)
from api.paper.languages.glyphs import letters_without_glyph
from api.paper.subject_access.messages import CODES, required
from ledger.procedure.protocol import Protocol

_OF_THE_SHIPPED_PROTOCOL = ("agency.", "protocol.")
_HEADER = """\
msgid ""
msgstr ""
"Project-Id-Version: case-ledger\\n"
"Language: {code}\\n"
"MIME-Version: 1.0\\n"
"Content-Type: text/plain; charset=utf-8\\n"
"Content-Transfer-Encoding: 8bit\\n"
{plural}
"""


@dataclass(frozen=True, slots=True)
class FileFindings:
    """The faults of one catalogue."""

    name: str
    needed: int
    missing: tuple[str, ...] = ()
    """Ids without a text: pages and documents show the English one."""
    unused: tuple[str, ...] = ()
    """Ids that no part of this program asks for."""
    faulty: tuple[tuple[str, str], ...] = ()
    """Ids whose text cannot be used, each with the reason; the English one is shown."""


@dataclass(frozen=True, slots=True)
class Findings:
    """The faults of a language's folder."""

    language: Language
    files: tuple[FileFindings, ...]
    without_glyph: tuple[str, ...]
    """Letters of its texts that the fonts of PDF files lack: then there is no PDF in it."""
    unlabelled: tuple[str, ...] = ()
    """Names of the protocol that have no word in this language."""

    @property
    def are_none(self) -> bool:
        """Return whether nothing is missing, unused or faulty."""
        bad = (one.missing or one.unused or one.faulty for one in self.files)
        return not (any(bad) or self.without_glyph or self.unlabelled)


def language_folders(folder: Path) -> Sequence[Path]:
    """Return the folders of languages in a folder, or the folder itself if it is of one language.

    Raises ``LanguageError`` if there is none.
    """
    if (folder / "LC_MESSAGES").is_dir():
        return [folder]
    found = sorted(one.parent for one in folder.glob("*/LC_MESSAGES") if one.is_dir())
    if not found:
        raise LanguageError(
            f"{folder} has no language: make a folder such as {folder / 'el' / 'LC_MESSAGES'}"
        )
    return found


def check_folder(folder: Path, protocol: Protocol | None = None) -> Findings:
    """Check the catalogues in one language's folder.

    ``protocol`` is the protocol whose own names are to be in the language too. Raises
    ``LanguageError`` if the language or a file does not hold.
    """
    own = read_language(folder.name, (folder,))
    files = tuple(_check_file(own, folder, name) for name in CATALOGUES)
    unlabelled = tuple(_unlabelled(own, protocol)) if protocol is not None else ()
    return Findings(own, files, letters_without_glyph(own), unlabelled)


def completed(folder: Path, name: str) -> bytes:
    """Return a catalogue of a folder with exactly the messages it needs, sorted by id.

    Messages without a text are there to be filled in; the English text stands above each.
    """
    own = read_language(folder.name, (folder,))
    present, plural = _read(folder, name), ""
    source = _source(name)
    texts = {id_of(one): one.string for one in present if one.id} if present is not None else {}
    filled = Catalog(locale=own.locale, fuzzy=False, charset="utf-8")
    for one in sorted(_needed(own, name) | _optional(own, name, texts)):
        message = source[one]
        comments = forms_of(message)[:1] if own.code != SOURCE else ()
        string = texts.get(one) or ("" if isinstance(message.id, str) else None)
        filled.add(message.id, string or None, auto_comments=comments)
    if any(not isinstance(source[id_of(one)].id, str) for one in filled if one.id):
        forms = present.plural_forms if present is not None else filled.plural_forms
        plural = f'"Plural-Forms: {forms.rstrip(";")};\\n"\n'
    content = BytesIO()
    write_po(content, filled, width=0, sort_output=True, omit_header=True)
    return _HEADER.format(code=own.code, plural=plural).encode() + content.getvalue()


def _check_file(own: Language, folder: Path, name: str) -> FileFindings:
    needed = _needed(own, name)
    catalogue = _read(folder, name)
    if catalogue is None:
        return FileFindings(name, len(needed), tuple(sorted(needed)))
    given = {id_of(one) for one in catalogue if one.id and forms_of(one) and not one.fuzzy}
    return FileFindings(
        name=name,
        needed=len(needed),
        missing=tuple(sorted(needed - given)),
        unused=tuple(sorted(given - _source(name).keys())),
        faulty=tuple(faults(catalogue, name)),
    )


def _read(folder: Path, name: str) -> Catalog | None:
    file = folder / "LC_MESSAGES" / name
    return read_catalogue(file) if file.is_file() else None


def _source(name: str) -> Mapping[str, Message]:
    file = package_folder() / SOURCE / "LC_MESSAGES" / name
    return {id_of(one): one for one in read_catalogue(file) if one.id}


def _needed(own: Language, name: str) -> frozenset[str]:
    """Return the ids that a catalogue must have.

    Names of the shipped protocol are of that protocol alone. A name of a country or a language is
    needed only where CLDR does not have it.
    """
    if name != CATALOGUES[0]:
        return frozenset(_source(name))
    if package_folder() in (folder.parent for folder in own.folders):
        return required()
    from_cldr = {one for one in CODES if _is_in_cldr(own, one)}
    return frozenset(
        one
        for one in required()
        if not one.startswith(_OF_THE_SHIPPED_PROTOCOL) and one not in from_cldr
    )


def _optional(own: Language, name: str, texts: Mapping[str, object]) -> frozenset[str]:
    known = _source(name).keys() & texts.keys()
    return frozenset(one for one in known if texts[one]) - _needed(own, name)


def _is_in_cldr(own: Language, message: str) -> bool:
    kind, _, code = message.partition(".")
    names = own.locale.territories if kind == "country" else own.locale.languages
    return code in names


def _unlabelled(own: Language, protocol: Protocol) -> Iterator[str]:
    labels = (protocol.labels or {}).get(own.code, {})
    if own.code == SOURCE:
        return
    if "title" not in labels:
        yield "title"
    source = english()
    for role, text in protocol.roles.items():
        if f"role.{role}" not in labels and text != source.get(f"role.{role}"):
            yield f"role.{role}"
    for agency in protocol.agencies:
        if own.code not in (agency.names or {}):
            yield f"agency.{agency.id}"
