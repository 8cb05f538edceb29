"""Gives contents of this country's documents to another country's node that asks for them.

A question is answered by this node's own copy of the ledger: only the country to which a document
went gets its content. An entry of the access log is written before a chunk is opened. One chunk is
in memory at a time.
"""

import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from uuid import UUID, uuid5

import structlog
from cachetools import TTLCache

from api.exchange.access_log_anchor import node_of
from api.exchange.parcel_delivery import ParcelDelivery
from ledger.application import Ledger
from ledger.procedure.case import Case
from ledger.procedure.protocol import Operation
from ledger.procedure.readings import Asked, BasisNamed, Reading
from ledger.procedure.registry import Registry
from ledger.signing.country_key import SealError
from ledger.system import clock
from ledger.vault.daily_quotas import Quota, QuotaUsedUpError
from ledger.vault.documents.chunk_encryption import seal_chunk, seal_metadata
from ledger.vault.documents.content_messages import (
    ContentAsked,
    ContentPart,
    ContentRefusal,
    ContentRefused,
    as_bytes,
    as_text,
    refusal_place,
    transfer_place,
)
from ledger.vault.documents.documents import OpenedDocument
from ledger.vault.documents.given_contents import Between, MayGive, NamedContent, may_give
from ledger.vault.required_disclosures import FieldPart
from ledger.vault.sealed_parcels import Content
from ledger.vault.vault import Vault
from ledger.vocabulary import ALL_ACTIONS
from ledger.vocabulary.documents import document_fields
from ledger.vocabulary.picklists import LegalBasis, Purpose

_QUESTIONS_WAITING = 100
"""So many contents of one country are asked for and wait here. It asks again for the rest."""
_READING_SECONDS = 600.0
"""One entry of the access log serves so long. The database opens a document for 15 minutes."""
_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class _Asked:
    """A question on a document that is known here."""

    vault: Vault
    other: str
    message: ContentAsked
    content: NamedContent
    case: Case
    key: bytes = field(repr=False)


class ContentGiving:
    """Answers the questions of other countries, for each country whose node this process is."""

    def __init__(
        self, ledger: Ledger, delivery: ParcelDelivery, is_stopping: Callable[[], bool]
    ) -> None:
        self._ledger = ledger
        self._delivery = delivery
        self._is_stopping = is_stopping
        self._waiting: dict[tuple[str, str], dict[tuple[UUID, str], ContentAsked]] = {}
        """The last question on each document, by the vault's country and the other."""
        self._readings: TTLCache[tuple[str, str, UUID, str, UUID | None], Reading] = TTLCache(
            10_000, _READING_SECONDS
        )
        self._lock = threading.Lock()

    def take_in(self, vault: Vault, other: str, message: ContentAsked) -> None:
        """Note a question. It takes the place of an earlier one on the same document."""
        with self._lock:
            waiting = self._waiting.setdefault((vault.party, other), {})
            place = (message.action, message.field)
            if place in waiting or len(waiting) < _QUESTIONS_WAITING:
                waiting[place] = message
            else:
                _log.warning("too many questions on documents wait", sender=other)

    @property
    def is_asked(self) -> bool:
        """Return whether a question waits."""
        with self._lock:
            return any(self._waiting.values())

    def answer(self, vault: Vault, other: str, registry: Registry) -> bool:
        """Answer one question of another country, and return whether there was one.

        Raises ``QuotaError`` if the mailbox takes no more now.
        """
        with self._lock:
            waiting = self._waiting.get((vault.party, other))
            if not waiting:
                return False
            message = waiting.pop(next(iter(waiting)))
        asked = self._known(vault, other, message)
        if asked is None:
            _log.warning("a document that no case has is asked for", sender=other)
            return True
        now = clock.now()
        way = Between(vault.party, other, registry.directory, registry.protocol_today(now), now)
        found = may_give(asked.case, asked.content, way)
        if isinstance(found, ContentRefusal):
            self._refuse(asked, found, registry)
            return True
        try:
            vault.quotas.use(other, Quota.CHUNKS, message.count)
        except QuotaUsedUpError:
            vault.quotas.refused(other, Quota.CHUNKS)
            return True
        opened = self._opened(asked, found, registry)
        if opened is None:
            self._refuse(asked, ContentRefusal.NOT_HERE, registry)
        else:
            self._give(asked, opened, registry)
        return True

    def _opened(self, asked: _Asked, found: MayGive, registry: Registry) -> OpenedDocument | None:
        """Return the document; ``None`` if its content is not here, or does not open."""
        vault, content = asked.vault, asked.content
        if not vault.has_field(content.action, content.digest, content.field):
            return None
        if content.action not in vault.documents.held([content.action]):
            return None
        with suppress(SealError):
            return vault.document(self._reading(asked, found, registry), content.action)
        return None

    def _known(self, vault: Vault, other: str, message: ContentAsked) -> _Asked | None:
        """Return a question with the document that it is about, by the ledger alone.

        So the answer to a country that must not have the document does not tell whether it exists.
        Returns ``None`` if no case has such an action, or the action no such field.
        """
        row = self._ledger.row_of_action(message.action)
        case = self._ledger.case(row.originator_id) if row is not None else None
        act = case.history.get(message.action) if case is not None else None
        model = ALL_ACTIONS.get(act.kind) if act is not None else None
        if case is None or model is None or message.field not in document_fields(model):
            return None
        level = model.level(message.field)
        content = NamedContent(message.action, message.field, level, message.digest)
        return _Asked(vault, other, message, content, case, as_bytes(message.key))

    def _reading(self, asked: _Asked, found: MayGive, registry: Registry) -> Reading:
        """Return an entry of the access log for the chunks that are given, and write it if needed.

        What a release gave is taken out by the agency that released it, as its fields are. What
        needs no release is taken out by this country's node. What goes back to its own country is
        taken out for that country's node.
        """
        release = found.release
        named = (asked.vault.party, asked.other, asked.content.action, asked.content.field)
        place = (*named, release.id if release is not None else None)
        if (known := self._readings.get(place)) is not None:
            return known
        protocol, group = registry.directory, asked.content.level.group
        groups = (group,) if group is not None else ()
        if release is not None:
            agency = registry.agreement.of_act(release).agencies_by_id[release.agency]
            key_id, purpose = release.key_id, Purpose(release.fields["purpose"])
            basis = BasisNamed(
                kind=LegalBasis(release.fields["basis"]),
                action=UUID(release.fields["basis_action"]),
            )
            bases = dict.fromkeys(groups, basis)
        else:
            gives_back = found.part.part is FieldPart.OWN
            whose = asked.other if gives_back else asked.vault.party
            author = protocol.agencies_by_id[asked.case.history[asked.content.action].agency]
            agency = node_of(protocol, whose) or author
            key_id, purpose, bases = None, Purpose.PROTECTION, {}
        reading = asked.vault.readings.record(
            Asked(
                agency=agency.id,
                role=agency.role,
                key_id=key_id,
                case_id=asked.case.id,
                operation=(
                    Operation.RESTORE if found.part.part is FieldPart.OWN else Operation.RELEASE
                ),
                groups=groups,
                purpose=purpose,
            ),
            bases=bases,
            concerning=release.id if release is not None else asked.content.action,
        )
        self._readings[place] = reading
        return reading

    def _give(self, asked: _Asked, opened: OpenedDocument, registry: Registry) -> None:
        """Send the chunks that a question names, one after the other."""
        message = asked.message
        place = transfer_place(message, asked.case.id, opened.place.size)
        upto = min(message.first + message.count, place.chunks)
        asked.vault.given.begin(asked.case.id, asked.content, asked.other)
        for number in range(message.first, upto):
            if self._is_stopping():
                return
            try:
                chunk = opened.chunk(number)
            except SealError:
                _log.error("a document that another country asks for does not open here")
                self._refuse(asked, ContentRefusal.NOT_HERE, registry)
                return
            sealed = as_text(seal_chunk(asked.key, chunk, place, number))
            part = ContentPart(transfer=message.transfer, number=number, sealed=sealed)
            self._send(asked, part, uuid5(message.transfer, str(number)), registry)

    def _refuse(self, asked: _Asked, why: ContentRefusal, registry: Registry) -> None:
        _log.info("a content is not given", other=asked.other, why=why.value)
        place = refusal_place(asked.message, asked.case.id)
        sealed = as_text(seal_metadata(asked.key, why.value.encode(), place))
        transfer = asked.message.transfer
        refused = ContentRefused(transfer=transfer, sealed=sealed)
        self._send(asked, refused, uuid5(transfer, "refused"), registry)

    def _send(self, asked: _Asked, message: Content, about: UUID, registry: Registry) -> None:
        self._delivery.send(asked.vault, asked.other, registry, message, about)
