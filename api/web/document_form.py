"""The part of a form that takes files: limits, choices, and who may read what is chosen."""

from collections.abc import Mapping
from dataclasses import dataclass

from api.http.access import Caller
from api.node.node import Node
from api.web.documents import readers, size_text
from api.web.forms import Options, language_options
from api.web.rendering import Words
from ledger.procedure.case import Case
from ledger.vocabulary import CASE_ACTIONS
from ledger.vocabulary.documents import USUAL_KINDS, document_field
from ledger.vocabulary.levels import FieldGroup
from ledger.vocabulary.picklists import DocumentKind


@dataclass(frozen=True, slots=True)
class FilesOfForm:
    """The words of a form on the files that it takes."""

    max_bytes: int
    case_left: int
    """The bytes that the documents of the case may still have at this node."""
    most: str
    used: str
    most_of_case: str
    kinds: Options
    languages: Options
    groups: Options
    """The field groups with their names, without the ``case`` level."""
    readers: Mapping[str, str]
    """The readers of a document by its group; at ``case`` level the key is empty."""


@dataclass(frozen=True, slots=True)
class OwnDocument:
    """The document that a kind of action takes in the same act."""

    field: str
    group: str
    """Empty at ``case`` level."""
    usual_kind: str


def files_of_form(node: Node, caller: Caller, case: Case, words: Words) -> FilesOfForm:
    """Return what a form of a case says of the files that it takes."""
    protocol, things = caller.protocol, words.things
    limits = protocol.document_limits
    party = caller.agency.party
    has_vault = node.vaults.has(party)
    used = node.vaults.of(party).documents.bytes_of_case(case.id) if has_vault else 0
    countries = sorted(case.state.parties, key=lambda one: (one != party, one))
    return FilesOfForm(
        max_bytes=limits.max_bytes,
        case_left=max(0, limits.max_case_bytes - used),
        most=size_text(limits.max_bytes, things),
        used=size_text(used, things),
        most_of_case=size_text(limits.max_case_bytes, things),
        kinds=tuple((one.value, things.picked(one)) for one in DocumentKind),
        languages=language_options(things),
        groups=tuple((one.value, things.picked(one)) for one in FieldGroup),
        readers=readers(protocol, party, countries, things, words.texts),
    )


def own_document(kind: str) -> OwnDocument | None:
    """Return the document that a kind of action takes in the same act, or ``None``."""
    model = CASE_ACTIONS[kind]
    field = document_field(model)
    if field is None:
        return None
    group = model.level(field).group
    return OwnDocument(field, group.value if group is not None else "", USUAL_KINDS.get(kind, ""))
