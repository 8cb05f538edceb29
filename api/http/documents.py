"""The API's documents, made of the rows and records of ledger, vault and replication."""

import base64
import dataclasses
from collections.abc import Iterator, Mapping
from datetime import datetime
from types import MappingProxyType
from uuid import UUID

from api.client.schemas import (
    AgencyChangeDocument,
    AgencyKey,
    AgencyProposalDocument,
    AgencyWithKeys,
    AmendmentDocument,
    ContactCardDocument,
    ContactPointDocument,
    DuplicateDocument,
    Event,
    ParcelsWaiting,
    PartyDocument,
    PersonalField,
    ProtocolVersionDocument,
    SubmissionDocument,
)
from api.exchange.parcel_standing import ParcelsStanding
from api.services.personal_data_access import OpenedFields
from ledger.events.act import Act
from ledger.procedure.agency_acts import ProposedAgencyChange
from ledger.procedure.agreement import Agreement, ProtocolVersion
from ledger.procedure.amendments import Amendment, text_digest
from ledger.procedure.contact_points import ContactPoint
from ledger.procedure.protocol import Agency, Protocol
from ledger.procedure.registry import Registry
from ledger.replication.submissions import KeptSubmission
from ledger.signing.keys import public_part
from ledger.store.event_rows import RecordedRow
from ledger.vault.duplicates.matches import Duplicate
from ledger.vault.held_fields import Held


def event_document(row: RecordedRow) -> Event:
    """Return the document of a recorded event, with its exact bytes."""
    return Event(
        position=row.position,
        case_id=row.originator_id,
        case_version=row.version,
        action_id=row.action_id,
        kind=row.kind,
        recorded_at=row.recorded_at,
        leaf_hash=base64.b64encode(row.leaf_hash).decode("ascii"),
        entry=row.state.decode("ascii"),
    )


def personal_fields(opened: OpenedFields) -> tuple[PersonalField, ...]:
    """Return the documents of the personal fields that were opened."""
    history, ended = opened.case.history, opened.ended
    return tuple(
        _personal_field(one, history[one.action_id], ended.get((one.action_id, one.field)))
        for one in opened.fields
    )


def _personal_field(held: Held, act: Act, superseded_by: UUID | None) -> PersonalField:
    """Return the document of an opened personal field of ``act``.

    Raises ``ValueError`` for a field that is not personal.
    """
    if held.group is None:
        raise ValueError(f"{held.field} is no personal field")
    return PersonalField(
        action_id=held.action_id,
        kind=act.kind,
        agency=act.agency,
        field=held.field,
        group=held.group,
        value=held.value,
        digest=held.digest,
        received_from=held.received_from,
        superseded_by=superseded_by,
    )


def duplicate_document(found: Duplicate) -> DuplicateDocument:
    """Return the document of a possible duplicate."""
    return DuplicateDocument(
        id=found.match.id,
        case_id=found.case_id,
        country=found.match.other,
        reference=found.match.other_reference,
        other_case_id=found.other_case_id,
        agrees=found.match.agrees,
        strength=found.strength,
        found_at=found.found_at,
        state=found.state,
        finding=found.finding,
        assessed_at=found.assessed_at,
        other_finding=found.other_finding,
        other_assessed_at=found.other_assessed_at,
    )


def submission_document(kept: KeptSubmission) -> SubmissionDocument:
    """Return the document of another node's statement that was kept here."""
    return SubmissionDocument(**dataclasses.asdict(kept))


def parcels_waiting(standing: ParcelsStanding) -> ParcelsWaiting:
    """Return the document of the parcels of one country that wait for another."""
    return ParcelsWaiting(**dataclasses.asdict(standing))


def agency_document(agency: Agency, registry: Registry, protocol: Protocol) -> AgencyWithKeys:
    """Return an agency with its keys, and with its country's changes.

    ``agency`` is one of ``protocol``, the version in force with the agencies of now.
    """
    changes = registry.agreement.changes
    is_retired = agency.retired_at is not None
    return AgencyWithKeys(
        **agency.model_dump(exclude={"names", "office", "international"}),
        names=agency.names or {},
        office=agency.office,
        international=bool(agency.international),
        answered_by=protocol.answering_for(agency.id).id if is_retired else None,
        history=tuple(
            AgencyChangeDocument(
                change=one.kind,
                position=one.position,
                recorded_at=one.recorded_at,
                by=one.by,
                name=one.told.get("name"),
            )
            for one in changes
            if one.agency == agency.id
        ),
        keys=tuple(
            AgencyKey(
                id=key.id,
                key=public_part(key.key),
                valid_from=key.valid_from,
                valid_until=key.valid_until,
                revoked_at=key.revoked_at,
                compromised_since=key.compromised_since,
                member=key.member,
            )
            for key in registry.keys.values()
            if key.agency == agency.id
        ),
    )


def contact_document(
    contact: ContactPoint, cards: Mapping[UUID, Mapping[str, str]] = MappingProxyType({})
) -> ContactPointDocument:
    """Return a contact point as the API shows it.

    ``cards`` has the fields of the cards that the reader may see, by the card's id.
    """
    card = contact.card if contact.card is not None and contact.card.id in cards else None
    return ContactPointDocument(
        id=contact.id,
        party=contact.party,
        agency=contact.agency,
        function=contact.function,
        functions=dict(contact.functions),
        deputy=contact.deputy,
        languages=contact.languages,
        office=contact.office,
        since=contact.since,
        named_at=contact.named_at,
        ended_at=contact.ended_at,
        card=ContactCardDocument(id=card.id, **cards[card.id]) if card is not None else None,
    )


def agency_proposal_document(
    proposed: ProposedAgencyChange, caller: Agency
) -> AgencyProposalDocument:
    """Return a change of an oversight body that waits for another party."""
    change = proposed.change
    return AgencyProposalDocument(
        id=change.action,
        change=change.kind,
        agency=change.agency,
        party=change.party,
        name=change.told.get("name"),
        by=change.by,
        yours=proposed.may_be_confirmed_by(caller),
    )


def version_document(version: ProtocolVersion, *, is_in_force: bool) -> ProtocolVersionDocument:
    """Return the document of a version of the protocol."""
    text = version.recorded
    return ProtocolVersionDocument(
        version=version.protocol.version,
        edition=version.protocol.edition,
        digest=text_digest(text),
        adopted_at=version.adopted_at,
        in_force_from=version.earliest if version.proposal is not None else None,
        is_in_force=is_in_force,
        proposal=version.proposal,
        text=text,
    )


def party_documents(agreement: Agreement, now: datetime) -> Iterator[PartyDocument]:
    """Yield the document of each party, as it is known at the time ``now``."""
    today = agreement.next_at(now)
    for party in agreement.directory.parties:
        versions = [v for v in agreement.versions if party.code in v.protocol.every_party_code]
        joined = next((v for v in reversed(versions) if party.code in v.admitted), versions[0])
        declared = [
            one
            for one in agreement.withdrawals
            if one.party == party.code
            and one.revoked_at is None
            and one.position > (joined.adopted_at if party.code in joined.admitted else 0)
        ]
        leaving = declared[-1] if declared else None
        yield PartyDocument(
            code=party.code,
            name=party.name,
            names=party.names or {},
            joined_at=joined.adopted_at,
            in_force_from=joined.earliest if joined.proposal is not None else None,
            is_party=party.code in today.party_codes,
            declaration=leaving.action if leaving is not None else None,
            leaves_on=leaving.day if leaving is not None else None,
            reason=leaving.reason if leaving is not None else None,
        )


def amendment_document(amendment: Amendment) -> AmendmentDocument:
    """Return the document of a proposed text."""
    return AmendmentDocument(
        proposal=amendment.proposal,
        version=amendment.version,
        is_read=amendment.text is not None,
        state=amendment.state,
        digest=amendment.digest,
        reason=amendment.reason,
        earliest_day=amendment.earliest_day,
        by=amendment.by,
        party=amendment.party,
        proposed_at=amendment.proposed_at,
        recorded_at=amendment.recorded_at,
        accepted=tuple(sorted(amendment.accepted)),
        missing=tuple(sorted(amendment.missing)),
        closed_at=amendment.closed_at,
        declined_by=amendment.declined_by,
        declined_because=amendment.declined_because,
        text=amendment.recorded,
    )
