"""The documents of an action, as a command line names them."""

from pathlib import Path

from api.client.documents import DocumentFile
from ledger.vocabulary.levels import CASE, FieldGroup, FieldLevel, personal
from ledger.vocabulary.picklists import DocumentKind

_CASE_LEVEL = "case"


def attached(text: str) -> DocumentFile:
    """Read ``FILE[:KIND[:GROUP[:TITLE]]]``, in which a part that is left out is the usual one.

    The name of the file may have colons: the longest name of an existing file counts. The group
    ``case`` is the level that the countries of the case read. Raises ``ValueError`` that names the
    fault.
    """
    parts = text.split(":")
    for count in range(len(parts), 0, -1):
        file = Path(":".join(parts[:count]))
        if file.is_file():
            break
    else:
        raise ValueError(f"there is no file {parts[0]}")
    kind, group = (*parts[count : count + 2], "", "")[:2]
    title = ":".join(parts[count + 2 :])
    return DocumentFile(file, title or file.stem, _kind(kind), _level(group))


def _kind(text: str) -> DocumentKind | None:
    if not text:
        return None
    try:
        return DocumentKind(text)
    except ValueError:
        known = ", ".join(DocumentKind)
        raise ValueError(f"{text!r} is no kind of document; choose one of {known}") from None


def _level(text: str) -> FieldLevel | None:
    if not text:
        return None
    if text == _CASE_LEVEL:
        return CASE
    try:
        return personal(FieldGroup(text))
    except ValueError:
        known = ", ".join((_CASE_LEVEL, *FieldGroup))
        raise ValueError(f"{text!r} is no field group; choose one of {known}") from None
