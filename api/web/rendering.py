"""Makes pages of templates: everything escaped, in one language, kept in no cache."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any
from uuid import UUID

from fastapi import Request
from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette.responses import HTMLResponse, Response

from api.client.schemas.health import Effect
from api.http.access import Caller
from api.http.error_handlers import ANSWER_HEADERS, PAGE_POLICY, PRINTED_POLICY
from api.keys.key_ends import EndingKey, concerns, ending_keys, lacks_second_key
from api.keys.own_keys import own_keys
from api.node.joined_parties import RULE as RESTART_DUE
from api.node.node import Node
from api.paper.languages.found import language, offered
from api.paper.protocol_changes import fact as fact_text
from api.paper.subject_access.wording import Wording, wording
from api.runtime.readiness import of_effect
from api.runtime.trouble import Trouble
from api.web.api_reference import marked
from api.web.assets import assets
from api.web.assignments import Assigned, assigned
from api.web.date_entry import date_example, date_order, days_in_words
from api.web.languages import language_of, protocol_of
from api.web.navigation import sections
from api.web.texts import PageTexts, texts
from api.web.timeline import stage_of
from ledger.refusals import Ground, Refusal
from ledger.system import clock
from ledger.vault.file_numbers import FileNumber
from ledger.vocabulary.case_reference import case_reference
from ledger.vocabulary.characters import shown_text
from ledger.vocabulary.documents import DocumentAdded
from ledger.vocabulary.upcasting import upcasters

PAGE_HEADERS = {
    **ANSWER_HEADERS,
    "Cache-Control": "no-store",
    "Content-Security-Policy": PAGE_POLICY,
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}


@dataclass(frozen=True, slots=True)
class Words:
    """Everything that is said in one language."""

    texts: PageTexts
    things: Wording

    @classmethod
    def of(cls, request: Request) -> "Words":
        code, caller = language_of(request).code, getattr(request.state, "caller", None)
        party = caller.agency.party if caller is not None else None
        return cls(texts(code), wording(code, protocol_of(request), party))

    @classmethod
    def in_language(cls, code: str, caller: Caller, field: str) -> "Words":
        """Return the words of a language, for the reader's own protocol and party.

        ``field`` names the code in the request. Raises ``Refusal`` (``language``) if the protocol
        does not offer the language.
        """
        known = [one.code for one in offered(caller.protocol)]
        if code not in known:
            raise Refusal(
                Ground.INVALID,
                "language",
                f"There are no texts in this language here. Choose one of {', '.join(known)}.",
                field,
            )
        return cls(texts(code), wording(code, caller.protocol, caller.agency.party))


@cache
def _templates() -> Environment:
    made = Environment(
        loader=PackageLoader("api.web"),
        autoescape=True,
        auto_reload=False,
        undefined=StrictUndefined,
        finalize=_shown,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters["marked"] = marked
    made.globals |= {
        "asset": assets().url,
        "date_order": date_order,
        "date_example": date_example,
        "days_in_words": days_in_words,
        "reference": lambda case: case_reference(UUID(str(case))),
        "document_schema": _document_schema,
        "stage_of": lambda entry: stage_of(entry).value,
    }
    return made


def _shown(value: object) -> object:
    """Return what a page shows of a value: a text without hidden characters.

    A text of another country could show itself as another text by them. Markup is of this program,
    or was made of values that were shown before.
    """
    if isinstance(value, str) and not hasattr(value, "__html__"):
        return shown_text(value)
    return value


@cache
def _document_schema() -> Mapping[str, int]:
    """Return the version and the number of digests of acts that add a document."""
    kind = DocumentAdded.kind
    digests = len(DocumentAdded.disclosable_fields())
    return {"version": upcasters().version(kind), "digests": digests}


def _troubles(request: Request) -> list[Trouble]:
    """Return the troubles that every page shows.

    They are those that make this node not ready, and that a party which joined is not served yet.
    """
    node: Node | None = getattr(request.app.state, "node", None)
    if node is None:
        return []
    found = node.troubles
    grave = of_effect(found, at_least=Effect.NOT_READY)
    return [one for one in found if one in grave or one.rule == RESTART_DUE]


def _audience(request: Request) -> str:
    """Return the node's name in assertions, with which a page begins a session again."""
    node: Node | None = getattr(request.app.state, "node", None)
    return node.settings.audience if node is not None else ""


def has_worker(request: Request) -> bool | None:
    """Return whether browsers shall have the worker of the pages; ``None`` while no node is open.

    A practice has none: it is started and stopped at an address that another practice or a node may
    have later, and a worker would stay behind in the browsers.
    """
    node: Node | None = getattr(request.app.state, "node", None)
    if node is None:
        return None
    return node.settings.service_worker and not getattr(request.app.state, "practice", False)


def _worker(request: Request) -> str:
    return {True: "on", False: "off", None: ""}[has_worker(request)]


def _own_keys(caller: Caller | None) -> str:
    """Return the ids of the keys that the person may sign with, for the scripts of the page."""
    if caller is None:
        return ""
    registry, agency = caller.registry, caller.agency.id
    return " ".join(own_keys(registry, agency, caller.key_id, caller.member, caller.asked_at))


def _keys_end(caller: Caller | None) -> list[EndingKey]:
    """Return the keys that end soon, of those that concern the caller."""
    if caller is None:
        return []
    registry = caller.registry
    found = ending_keys(registry, {caller.agency.party}, clock.now())
    return [key for key in found if concerns(caller.agency, key, registry)]


def _fact_texts(request: Request, words: Words) -> list[tuple[str, str]]:
    """Return each fact that a rule of the protocol names, with its text."""
    protocol = protocol_of(request)
    rules = protocol.actions.values() if protocol is not None else ()
    names = {
        fact
        for rule in rules
        for fact in (
            *rule.requires,
            *rule.requires_for_child,
            *rule.requires_one_of,
            *rule.forbidden_while,
            *(fact for one in rule.where for fact in (*one.requires, *one.forbidden_while)),
        )
    }
    return [(name, fact_text(name, words.things)) for name in sorted(names)]


def _file_numbers(
    request: Request, caller: Caller | None, case_id: UUID
) -> Sequence[FileNumber] | None:
    """Return the file numbers of a case that is shown; ``None`` if the caller has and sees none."""
    node: Node | None = getattr(request.app.state, "node", None)
    if caller is None or node is None or not node.agency_files.sees(caller.agency):
        return None
    return node.agency_files.of_listed(caller.agency, [case_id]).get(case_id, ())


def _assigned(request: Request, caller: Caller | None, case_id: UUID) -> Assigned | None:
    """Return to whom the caller's agency assigned a case that is shown, if to anybody."""
    node: Node | None = getattr(request.app.state, "node", None)
    if caller is None or node is None:
        return None
    return assigned(node, caller, [case_id]).get(case_id)


def page(
    request: Request, template: str, caller: Caller | None, *, status: int = 200, **values: Any
) -> HTMLResponse:
    """Return a page for the caller; ``caller`` is ``None`` if nobody is signed in.

    The page names its own path, ``here``, only if the path was found: another path could be
    anything.
    """
    words, spoken = Words.of(request), language_of(request)
    content = (
        _templates()
        .get_template(template)
        .render(
            t=words.texts.text,
            n=words.texts.count,
            find_text=words.texts.find,
            why_texts=words.texts.names("why."),
            fact_texts=lambda: _fact_texts(request, words),
            w=words.things,
            language=spoken,
            languages=offered(protocol_of(request)),
            here=request.url.path if status == 200 else "/",
            caller=caller,
            own_audience=_audience(request),
            sections=sections(caller) if caller is not None else (),
            now=clock.now(),
            troubles=_troubles(request),
            keys_end=_keys_end(caller),
            own_keys=_own_keys(caller),
            practice=getattr(request.app.state, "practice", False),
            worker=_worker(request),
            has_one_key=caller is not None and lacks_second_key(caller.agency, caller.registry),
            file_numbers=lambda case_id: _file_numbers(request, caller, case_id),
            assigned_to=lambda case_id: _assigned(request, caller, case_id),
            **values,
        )
    )
    return HTMLResponse(content, status, dict(PAGE_HEADERS))


def fixed_page(template: str, code: str, **values: object) -> str:
    """Return a page that has nothing of a request, a person or a moment, in a language."""
    named = {"t": texts(code).text, "language": language(code), **values}
    return _templates().get_template(template).render(named)


def printed(content: bytes, name: str) -> Response:
    """Return the answer with a PDF, which the browser shows. Its name says nothing of a case."""
    headers = {
        **PAGE_HEADERS,
        "Content-Security-Policy": PRINTED_POLICY,
        "Content-Disposition": f'inline; filename="{name}.pdf"',
    }
    return Response(content, headers=headers, media_type="application/pdf")
