"""Three parties in memory: what the rules allow is recorded, and everyone judges it again."""

import importlib.util
import sys
from collections.abc import Iterator
from datetime import date, timedelta
from types import ModuleType
from uuid import UUID

import pytest

from ledger.events.event import ActionRecorded, recorded
from ledger.procedure.case import Case
from ledger.procedure.deciding import decide_on_case, decide_on_protocol
from ledger.procedure.protocol import Protocol
from ledger.procedure.registry import Registry, applied
from ledger.refusals import Refusal
from ledger.signing.signed_action import read_recorded
from ledger.verification.revalidation import Revalidation, inspect
from ledger.vocabulary import Action
from ledger.vocabulary.registration import AmendmentAccepted
from tests.support.agencies import Agencies
from tests.support.amending import acceptance, proposal
from tests.support.auditor import AUDITOR
from tests.support.recorded import MemoryLedger

XK, ME, AL = "xk-nac", "me-nac", "al-nac"


def auditor_script(name: str) -> Iterator[ModuleType]:
    """Yield the auditor's program as a module of this name."""
    spec = importlib.util.spec_from_file_location(name, AUDITOR)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules[name]


class Parties:
    """A ledger in memory that records what the rules allow, and all who judge it again."""

    def __init__(self, script: ModuleType, begun: MemoryLedger) -> None:
        """``begun`` has the adoption and the keys; it stays as it is."""
        self.agencies = Agencies(begun.agencies.protocol, dict(begun.agencies.keys))
        versions = dict(begun.versions)
        self.ledger = MemoryLedger(self.agencies, [*begun.recorded], versions, begun.now)
        self.replay = Revalidation()
        self.script, self.auditor = script, script.Registry()
        self.registry: Registry | None = None
        self.at = 0
        self.read()

    def read(self) -> Registry:
        """Everyone reads what was recorded since; nobody finds anything."""
        for row in self.ledger.recorded[self.at :]:
            self.at += 1
            assert list(self.replay.judge(row.position, inspect(row), self.ledger.root)) == []
            event = recorded(row.state, row.originator_id, row.version, row.position)
            if row.originator_id == self.agencies.protocol.ledger_id:
                self.registry, mark = applied(self.registry, event)
                assert mark is None
            self.auditor.take(row.position, self.script.event_of(row.state))
        assert self.registry is not None
        assert self.replay.registry is not None
        assert self.registry.agreement == self.replay.registry.agreement
        adopted = [version.adopted_at for version in self.registry.agreement.versions]
        assert [position for position, _, _ in self.auditor.versions] == adopted
        return self.registry

    def act(self, agency: str, action: Action) -> UUID:
        """Decide an act as the ledger node does, and record it. Raises ``Refusal``."""
        text = self.agencies.sign(agency, action, None).without_disclosures()
        signed = read_recorded(text)
        decide_on_protocol(
            signed, self.read(), self.ledger.now + timedelta(minutes=1), self.ledger.root_at
        )
        self.ledger.put(text, self.agencies.protocol.ledger_id)
        self.read()
        return signed.id

    def smuggle(self, agency: str, action: Action) -> list[str]:
        """Record an act that the rules refuse. Returns what a copy finds of it."""
        self.read()
        text = self.agencies.sign(agency, action, None).without_disclosures()
        self.ledger.put(text, self.agencies.protocol.ledger_id)
        row = self.ledger.recorded[-1]
        with pytest.raises(self.script.Failed):
            self.auditor.take(row.position, self.script.event_of(row.state))
        return list(self.replay.judge(row.position, inspect(row), self.ledger.root))

    def take(self, agency: str, action: Action, case_id: UUID) -> UUID:
        """Decide an action on a case as the ledger node does, and record it. Raises ``Refusal``."""
        text = self.agencies.sign(agency, action, case_id).without_disclosures()
        signed = read_recorded(text)
        case = self.case(case_id)
        at = self.ledger.now + timedelta(minutes=1)
        decide_on_case(signed, case, case.version if case else 0, self.read(), at)
        self.ledger.put(text, case_id)
        self.read()
        return signed.id

    def events(self, case_id: UUID) -> list[ActionRecorded]:
        """Return the events of a case."""
        return [
            recorded(row.state, row.originator_id, row.version, row.position)
            for row in self.ledger.recorded
            if row.originator_id == case_id
        ]

    def case(self, case_id: UUID) -> Case | None:
        """Return a case, folded from its events by the agreement of now."""
        return Case.projector(self.read().agreement)(None, self.events(case_id))

    def refused(self, agency: str, action: Action) -> str:
        """Return the rule by which an act on the protocol is refused."""
        with pytest.raises(Refusal) as refusal:
            self.act(agency, action)
        return refusal.value.rule

    def refused_in(self, case_id: UUID, agency: str, action: Action) -> str:
        """Return the rule by which an action on a case is refused."""
        with pytest.raises(Refusal) as refusal:
            self.take(agency, action, case_id)
        return refusal.value.rule

    @property
    def text(self) -> Protocol:
        """The newest text of the protocol, without what countries changed of their agencies."""
        return self.read().agreement.latest.protocol

    @property
    def now(self) -> Protocol:
        """The version that judges the next event."""
        return self.read().next_protocol(self.ledger.now + timedelta(minutes=1))

    def adopt(self, text: Protocol, day: date | None = None) -> None:
        proposed = self.act(XK, proposal(text, day))
        self.act(ME, self.acceptance(proposed, text))
        self.act(AL, self.acceptance(proposed, text))

    def acceptance(self, proposed: UUID, text: Protocol) -> AmendmentAccepted:
        """Return the act that accepts a proposed text in the ledger as it is now."""
        return acceptance(proposed, text, self.ledger.named())
