"""The answers that the page of a case begins with: guardian, risk, best interests, consents.

Pure: made of the case's view, its trail and the ``case`` fields that the reader's country holds.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from uuid import UUID

from pydantic import JsonValue

from api.web.case_text import case_values
from ledger.procedure.case_fold import without_effect
from ledger.vault.held_fields import Held
from ledger.vocabulary.coordination import ConsentGiven
from ledger.vocabulary.protection import BestInterestsAssessed, GuardianAppointed, RiskAssessed
from projections.folds.audit_trail import TrailEntry
from projections.folds.case_view import CaseView

_CONSENT_FACT = "consent_"
"""The beginning of the name of a fact that holds by a consent, such as ``consent_assistance``."""


@dataclass(frozen=True, slots=True)
class Answer:
    """The action by which an answer holds, and its fields that the reader's country holds."""

    entry: TrailEntry
    disclosed: Mapping[str, JsonValue]

    def __getitem__(self, field: str) -> JsonValue:
        """Return a field of the action, or ``None`` if it was left out or is not held here."""
        return self.entry.fields.get(field, self.disclosed.get(field))


@dataclass(frozen=True, slots=True)
class ConsentAnswer:
    """A consent in force."""

    entry: TrailEntry
    scopes: tuple[str, ...]
    """Those of its scopes that hold by it: a later consent may have renewed the others."""
    groups: tuple[str, ...]
    recipients: tuple[str, ...]
    expires: date | None
    has_ended: bool
    """Whether its last day is past."""


@dataclass(frozen=True, slots=True)
class CaseAnswers:
    """The answers to what a person asks first about a case."""

    guardians: tuple[Answer, ...]
    """The newest appointment of each country of the case."""
    risk: Answer | None
    best_interests: Answer | None
    consents: tuple[ConsentAnswer, ...]
    providers: Mapping[UUID, str]
    """The agencies that give the services in force, by the action that began the service."""


def case_answers(
    view: CaseView, trail: Sequence[TrailEntry], held: Iterable[Held], today: date
) -> CaseAnswers:
    """Return the answers. ``today`` is the day on which the last day of a consent is judged."""
    values, ineffective = case_values(trail, held), without_effect(trail)
    effective = [entry for entry in trail if entry.action_id not in ineffective]

    def newest(kind: str) -> Answer | None:
        found = [entry for entry in effective if entry.kind == kind]
        return Answer(found[-1], values[found[-1].action_id]) if found else None

    guardians = {e.party: e for e in effective if e.kind == GuardianAppointed.kind}
    services = {service.action for service in view.services}
    return CaseAnswers(
        guardians=tuple(Answer(one, values[one.action_id]) for one in guardians.values()),
        risk=newest(RiskAssessed.kind),
        best_interests=newest(BestInterestsAssessed.kind),
        consents=tuple(_consents(view, effective, today)),
        providers={
            action: provider
            for action in services
            if isinstance(provider := values.get(action, {}).get("provider"), str)
        },
    )


def _consents(view: CaseView, trail: Iterable[TrailEntry], today: date) -> Iterator[ConsentAnswer]:
    """Yield the consents by which a fact holds or on which fields may be read."""
    held = {
        fact.removeprefix(_CONSENT_FACT): one.action
        for fact, one in view.facts.items()
        if fact.startswith(_CONSENT_FACT)
    }
    named = {one.action: one for one in view.consents}
    for entry in trail:
        if entry.kind != ConsentGiven.kind:
            continue
        scopes = tuple(scope for scope, action in held.items() if action == entry.action_id)
        consent = named.get(entry.action_id)
        if not scopes and consent is None:
            continue
        last = entry.fields.get("expires")
        expires = date.fromisoformat(str(last)) if last else None
        yield ConsentAnswer(
            entry=entry,
            scopes=scopes or tuple(consent.scopes if consent else ()),
            groups=consent.groups if consent else (),
            recipients=consent.recipients if consent else (),
            expires=expires,
            has_ended=expires is not None and expires < today,
        )
