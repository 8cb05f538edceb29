"""Drafts of actions that a second member of the agency approves before they are recorded.

The author signs the action and sends it here. A colleague looks at it, and signs an approval of
that exact text. The node then records the action with both signatures, as any other action.
"""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from rfc9457 import Problem

from api.client.schemas import Outcome, Receipt
from api.services.action_status import Outcomes
from api.services.append_service import AppendService, checked_draft
from api.services.personal_data_access import Reader, asked_by
from ledger.application import Ledger
from ledger.procedure.approvals import MISSING, check_age, member_of
from ledger.procedure.protocol import NODE, Agency, Operation
from ledger.refusals import Ground, Refusal
from ledger.signing import approval as approvals
from ledger.signing import signed_action
from ledger.signing.sd_jwt import parse_disclosure
from ledger.signing.signed_action import SignedAction, signed_in_clear
from ledger.system import clock
from ledger.vault import drafts as kept
from ledger.vault.drafts import MOST_REMARK, STUCK, Draft, DraftContent, DraftState, draft_over
from ledger.vault.vault import Vault, Vaults
from ledger.vocabulary import ALL_ACTIONS
from ledger.vocabulary.picklists import Purpose

ActiveMembers = Callable[[str, Collection[UUID]], Collection[UUID]]
"""Returns those of some members who work for an agency now."""
CASE_OPENED = "case_opened"


@dataclass(frozen=True, slots=True)
class OpenedDraft:
    """A draft with all that will be recorded and kept by it."""

    draft: Draft
    action: SignedAction
    fields: Mapping[str, Any]
    """The ``ledger`` fields and the disclosed ones, by name."""
    content: DraftContent


class Drafts:
    """The drafts of the agencies of this node's countries."""

    def __init__(
        self,
        ledger: Ledger,
        vaults: Vaults,
        outcomes: Outcomes,
        active: ActiveMembers,
    ) -> None:
        self._ledger = ledger
        self._vaults = vaults
        self._outcomes = outcomes
        self._active = active

    def send(
        self,
        sender: Agency,
        member: UUID,
        sent: str,
        case_id: UUID,
        case_version: int,
        *,
        form: Mapping[str, Any] | None = None,
        replaces: UUID | None = None,
    ) -> Draft:
        """Keep an action that its author signed, until a colleague approves it.

        All rules are asked beforehand, so the action lacks the approval alone. ``replaces`` is an
        earlier draft of the author, which is taken back. Raises ``Refusal``.
        """
        vault = self._vault(sender)
        action = checked_draft(self._ledger, vault, sender, sent, case_id, case_version)
        if action.approval is not None:
            raise Refusal(
                Ground.INVALID, "approval-not-asked", "A draft is not approved yet.", "approval"
            )
        registry = self._ledger.adopted()
        if member_of(action.key_id, action.agency, registry, clock.now()) != member:
            raise Refusal(
                Ground.NOT_ALLOWED,
                "draft-of-author",
                "A member sends the drafts that the member signed, and no other.",
                "header.kid",
            )
        if replaces is not None:
            self._own(sender, member, replaces)
        self._check_lacks_approval_alone(action, case_version)
        draft = Draft(
            action.id,
            case_id,
            sender.id,
            member,
            action.kind,
            DraftState.WAITING,
            case_version,
            clock.now(),
            None,
            None,
            None,
        )
        vault.drafts.add(draft, DraftContent(sent, form, None), replaces=replaces)
        return self.found(sender, action.id)

    def of_agency(self, agency: Agency) -> Sequence[Draft]:
        """Return the drafts of an agency, the oldest first, as they stand by now."""
        if agency.role == NODE or not self._vaults.has(agency.party):
            return ()
        vault = self._vault(agency)
        found = vault.drafts.of_agency(agency.id)
        ids = [one.action_id for one in found]
        recorded = self._ledger.recorded_actions(ids) if ids else ()
        settled = (
            self._settled(vault, one, is_recorded=one.action_id in recorded) for one in found
        )
        return [one for one in settled if one is not None]

    def until(self, draft: Draft) -> datetime:
        """Return until when the action of a draft can be recorded, by the protocol of today."""
        protocol = self._ledger.adopted().protocol_today(clock.now())
        asked = protocol.approval_of(draft.kind, draft.agency)
        return draft.sent_at + timedelta(days=asked.within_days if asked is not None else 0)

    def may_approve(self, draft: Draft, member: UUID | None) -> bool:
        """Return whether a member may approve a draft now, as far as this node sees it."""
        return (
            member is not None
            and draft.state is DraftState.WAITING
            and member != draft.author
            and clock.now() < self.until(draft)
            and len(self._active(draft.agency, {member, draft.author})) == 2
        )

    def is_orphan(self, draft: Draft) -> bool:
        """Return whether the author of a draft works for the agency no more."""
        return draft.author not in self._active(draft.agency, {draft.author})

    def open(self, reader: Reader, action_id: UUID) -> OpenedDraft:
        """Open a draft of the reader's agency; the access log has it first. Raises ``Refusal``."""
        draft = self.found(reader.agency, action_id)
        vault = self._vault(reader.agency)
        model = ALL_ACTIONS[draft.kind]
        groups = dict.fromkeys(
            group
            for name in model.disclosable_fields()
            if (group := model.level(name).group) is not None
        )
        asked = asked_by(reader, draft.case_id, Operation.READ_DRAFT, groups, Purpose.PROTECTION)
        content = vault.drafts.open(vault.readings.record(asked, concerning=action_id))
        if content is None:
            raise _unknown()
        action = signed_action.read(signed_action.parse(content.signed))
        disclosed = map(parse_disclosure, content.signed.split("~")[1:-1])
        fields = {
            **action.fields,
            **signed_in_clear(action),
            **{d.name: d.value for d in disclosed},
        }
        return OpenedDraft(draft, action, fields, content)

    def approve(
        self,
        append: AppendService,
        reader: Reader,
        member: UUID,
        action_id: UUID,
        approval: str,
        case_version: int,
    ) -> tuple[str, Receipt | Outcome]:
        """Record a draft with the approval of a member, and return what was sent with its end.

        Raises ``Refusal``.
        Of two approvals at once, and of an approval and a withdrawal, one succeeds.
        """
        agency = reader.agency
        draft = self.found(agency, action_id)
        vault = self._vault(agency)
        self._check_approver(draft, member, approval)
        opened = self.open(reader, action_id)
        check_age(self._days(draft), opened.action.signed_at, clock.now())
        text = approvals.approved(opened.content.signed, approval)
        vault.drafts.approve(action_id, member)
        try:
            told = append.on_case(agency, text, draft.case_id, case_version)
        except (Refusal, Problem):
            vault.drafts.wait_again(action_id)
            raise
        if isinstance(told, Receipt):
            vault.drafts.settle(action_id)
        else:
            self._settled(vault, self.found(agency, action_id), is_recorded=False)
        return text, told

    def give_back(self, agency: Agency, member: UUID, action_id: UUID, remark: str) -> Draft:
        """Return a draft to its author with a remark. Raises ``Refusal``."""
        draft = self.found(agency, action_id)
        if member == draft.author:
            raise Refusal(
                Ground.NOT_ALLOWED,
                "approval-by-author",
                "A colleague returns a draft; its author changes or withdraws it.",
            )
        written = remark.strip()
        if not written or len(written) > MOST_REMARK or "\x00" in written:
            raise Refusal(
                Ground.INVALID,
                "remark-text",
                f"A remark has 1 to {MOST_REMARK} characters.",
                "remark",
            )
        self._vault(agency).drafts.give_back(draft, member, written)
        return self.found(agency, action_id)

    def withdraw(self, agency: Agency, member: UUID, action_id: UUID) -> None:
        """Take a draft back for ever, as its author, or as a colleague of an author who left.

        Raises ``Refusal``.
        """
        if not self.is_orphan(self.found(agency, action_id)):
            self._own(agency, member, action_id)
        self._vault(agency).drafts.take_back(action_id)
        if self._outcomes.of(action_id) is not None:  # approved past the draft, just before
            raise draft_over()

    @contextmanager
    def approving(self, sender: Agency, sent: str) -> Iterator[None]:
        """Check an approved action that comes in by any way, and hold it while it is recorded.

        Both members must work for the agency, and the author must not have taken the action back.
        A draft of it cannot be withdrawn in the block. The rules check the signatures. Raises
        ``Refusal``.
        """
        held = self._held(sender, sent)
        try:
            yield
        except (Refusal, Problem):
            if held is not None:
                self._vault(sender).drafts.wait_again(held)
            raise

    def _held(self, sender: Agency, sent: str) -> UUID | None:
        """Return the draft of an approved action, if it waited until now."""
        if sender.role == NODE or not self._vaults.has(sender.party):
            return None
        action = signed_action.read(signed_action.parse(sent))
        if action.approval is None or action.agency != sender.id:
            return None
        if self._ledger.row_of_action(action.id) is not None:  # the same again gets its receipt
            return None
        keys = self._ledger.adopted().keys
        held = (keys.get(action.key_id), keys.get(action.approval.key_id))
        members = {key.member for key in held if key is not None and key.member is not None}
        if set(self._active(sender.id, members)) != members:
            raise _author_gone()
        drafts = self._vault(sender).drafts
        draft = drafts.get(action.id)
        if draft is not None and draft.state is DraftState.WAITING:
            approver = keys.get(action.approval.key_id)
            member = approver.member if approver is not None else None
            drafts.approve(action.id, member or draft.author)
            return action.id
        if drafts.is_taken_back(action.id):
            raise Refusal(
                Ground.CONFLICT,
                "draft-withdrawn",
                "This action was withdrawn or returned; sign another one.",
                "jti",
            )
        return None

    def _check_lacks_approval_alone(self, action: SignedAction, case_version: int) -> None:
        try:
            self._ledger.decide(action, case_version)
        except Refusal as refusal:
            if refusal.rule == MISSING:
                return
            raise
        raise Refusal(
            Ground.OUT_OF_PROCEDURE,
            "draft-not-needed",
            "The protocol in force asks for no approval of this action; record it at once.",
        )

    def _check_approver(self, draft: Draft, member: UUID, approval: str) -> None:
        given = approvals.read(approval)
        registry = self._ledger.adopted()
        if member_of(given.key_id, draft.agency, registry, clock.now()) != member:
            raise Refusal(
                Ground.NOT_ALLOWED,
                "approval-key",
                "A member approves with a key of the member's own.",
                "approval",
            )
        if member == draft.author:
            raise Refusal(
                Ground.NOT_ALLOWED,
                "approval-by-author",
                "The author of an action does not approve it; a colleague does.",
                "approval",
            )
        if self.is_orphan(draft):
            raise _author_gone()

    def _settled(self, vault: Vault, draft: Draft, *, is_recorded: bool) -> Draft | None:
        """Return a draft as it stands by now; ``None`` once its action is recorded."""
        if is_recorded:
            vault.drafts.settle(draft.action_id)
            return None
        if draft.state is not DraftState.APPROVED:
            return draft
        outcome = self._outcomes.of(draft.action_id)
        if outcome is not None and outcome.receipt is not None:
            vault.drafts.settle(draft.action_id)
            return None
        if outcome is not None and outcome.problem is not None:
            rule = outcome.problem.rule or "refused"
            vault.drafts.refuse(draft.action_id, rule)
            return replace(draft, state=DraftState.RETURNED, refused_by=rule)
        decided_at = draft.decided_at
        if outcome is None and decided_at is not None and clock.now() - decided_at > STUCK:
            vault.drafts.wait_again(draft.action_id)
            return replace(draft, state=DraftState.WAITING, decided_by=None, decided_at=None)
        return draft

    def _days(self, draft: Draft) -> int:
        protocol = self._ledger.adopted().protocol_today(clock.now())
        asked = protocol.approval_of(draft.kind, draft.agency)
        return asked.within_days if asked is not None else kept.KEPT.days

    def _own(self, agency: Agency, member: UUID, action_id: UUID) -> Draft:
        """Return a draft of the member's own. Raises ``Refusal`` (``draft-of-author``)."""
        draft = self.found(agency, action_id)
        if draft.author != member:
            raise Refusal(
                Ground.NOT_ALLOWED,
                "draft-of-author",
                "The member who wrote a draft changes and withdraws it; a colleague withdraws it"
                " once that member left.",
            )
        return draft

    def found(self, agency: Agency, action_id: UUID) -> Draft:
        """Return a draft of the agency. Raises ``Refusal`` (``unknown-draft``)."""
        draft = self._vault(agency).drafts.get(action_id)
        if draft is None or draft.agency != agency.id:
            raise _unknown()
        return draft

    def _vault(self, agency: Agency) -> Vault:
        if agency.role == NODE or not self._vaults.has(agency.party):
            raise Refusal(
                Ground.OUT_OF_PROCEDURE,
                "no-vault-here",
                "Drafts are kept in the vault of the agency's country, which this node has not.",
            )
        return self._vaults.of(agency.party)


def _unknown() -> Refusal:
    return Refusal(
        Ground.UNKNOWN,
        "unknown-draft",
        "There is no such draft of this agency: it was recorded, withdrawn or erased.",
    )


def _author_gone() -> Refusal:
    return Refusal(
        Ground.NOT_ALLOWED,
        "draft-author-gone",
        "A member who signed this works for the agency no more; another member writes it anew.",
    )
