"""Acts on the protocol itself: its adoption, its agencies' keys, and the trusted log key."""

from datetime import date
from typing import Annotated, Any, ClassVar

from pydantic import ConfigDict, Field

from ledger.vocabulary.action import Action, LedgerModel, OnCase, OnLedger
from ledger.vocabulary.picklists import Stage as S
from ledger.vocabulary.picklists import VoteSubject
from ledger.vocabulary.types import (
    ActionId,
    AgencyId,
    Countries,
    Country,
    EmailAddress,
    Languages,
    LanguageTag,
    MemberId,
    Name,
    TelephoneNumber,
    Text,
    UtcDatetime,
)

MAX_POLICY = 8 * 1024
KeyId = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{43}$")]
"""RFC 7638 thumbprint (SHA-256) of an agency's public key."""


class PublicKey(LedgerModel):
    """An Ed25519 public key as a JWK (RFC 8037)."""

    kty: Annotated[str, Field(pattern="^OKP$")] = "OKP"
    crv: Annotated[str, Field(pattern="^Ed25519$")] = "Ed25519"
    x: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{43}$")]


Proof = Annotated[
    str, Field(pattern=r"^[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]{86}$", max_length=1024)
]
"""A compact JWS by the key itself; see ``ledger.signing.key_possession``."""


class KeyRequest(LedgerModel):
    """A new public key with its proof, as an agency hands it to its coordinator."""

    # The body of a request: FastAPI builds the models of its routes with them, and pydantic
    # warns of what FastAPI adds to a model that is built later.
    model_config = ConfigDict(defer_build=False)

    agency: AgencyId
    key: PublicKey
    proof: Proof


class KeyGrant(LedgerModel):
    """A key that an agency may sign with, from ``valid_from`` until ``valid_until``."""

    agency: AgencyId
    key: PublicKey
    valid_from: UtcDatetime
    valid_until: UtcDatetime
    proof: Proof | None = None
    """Required from edition 2 of the rules on."""


CountryKey = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1622}$")]
"""ML-KEM-768 encapsulation key and X25519 public key, base64url."""
NodeAddress = Annotated[
    str, Field(pattern=r"^https?://[A-Za-z0-9.\[\]:-]{1,253}(:[0-9]{1,5})?$", max_length=300)
]
"""Scheme, host and port of a node, such as ``https://node.example.mk``."""


class Accession(LedgerModel):
    """The keys and the node with which a party joins. Every party signs them with the text."""

    keys: Annotated[tuple[KeyGrant, ...], Field(min_length=2, max_length=8)]
    """Of the party's coordinators and of its node, each with its proof."""
    witness: Annotated[str, Field(min_length=50, max_length=300)]
    """The key of the party's witness: a verifier key of C2SP ``signed-note``."""
    country_key: CountryKey
    """The key to which the others seal."""
    node: NodeAddress
    """Where the other nodes reach the party's node, and its witness."""

    def witness_url(self, party: str) -> str:
        """Return the address of the witness of ``party`` at its node."""
        return f"{self.node}/witness/{party}"


class ProtocolAdopted(Action):
    """The first event of a ledger: the protocol, whole, and its coordinators' keys.

    It is the trust root: the parties compare its digest outside the system.
    """

    kind: ClassVar[str] = "protocol_adopted"
    stage: ClassVar[S] = S.COORDINATION

    protocol: OnLedger[dict[str, Any]]
    keys: OnLedger[Annotated[tuple[KeyGrant, ...], Field(min_length=1, max_length=64)]]


class NamedCheckpoint(LedgerModel):
    """A history of the ledger: its first ``size`` events, by their RFC 6962 root."""

    size: Annotated[int, Field(ge=1, lt=2**53)]
    root: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


TextDigest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
"""SHA-256 of a protocol's text; see ``ledger.procedure.amendments.text_digest``."""


class AmendmentProposed(Action):
    """A coordinator proposes a new text of the protocol, and accepts it for its own party.

    The text is whole. It has no effect before the coordinator of every party has accepted it.
    """

    kind: ClassVar[str] = "amendment_proposed"
    stage: ClassVar[S] = S.COORDINATION

    protocol: OnLedger[dict[str, Any]]
    digest: OnLedger[TextDigest]
    reason: OnLedger[Annotated[Text, Field(max_length=1000)]]
    earliest_day: OnLedger[date | None] = None
    """The first day, in UTC, on which the text may be in force; left out: once it is adopted."""


class AmendmentAccepted(Action):
    """A coordinator accepts a proposed text for its party. The last acceptance adopts it.

    The acceptance counts in the history of its checkpoint alone.
    """

    kind: ClassVar[str] = "amendment_accepted"
    stage: ClassVar[S] = S.COORDINATION

    proposal: OnLedger[ActionId]
    digest: OnLedger[TextDigest]
    """Of the text that the coordinator read."""
    checkpoint: OnLedger[NamedCheckpoint | None] = None
    """A checkpoint that has the proposal, and that the coordinator has verified. Required from
    edition 2 of the rules on."""


class AmendmentDeclined(Action):
    """A coordinator declines a proposed text, or withdraws its own. The proposal is closed."""

    kind: ClassVar[str] = "amendment_declined"
    stage: ClassVar[S] = S.COORDINATION

    proposal: OnLedger[ActionId]
    digest: OnLedger[TextDigest]
    reason: OnLedger[Annotated[Text, Field(max_length=1000)] | None] = None


class AccessionAccepted(Action):
    """A coordinator records that a joining party accepts a proposed text that makes it a party.

    The joining party's coordinator signs the statement with the key that the text names. It signs
    no event before the text is in force.
    """

    kind: ClassVar[str] = "accession_accepted"
    stage: ClassVar[S] = S.COORDINATION

    proposal: OnLedger[ActionId]
    digest: OnLedger[TextDigest]
    party: OnLedger[Country]
    statement: OnLedger[Proof]
    """A compact JWS of the party's coordinator; see ``ledger.signing.accession_statement``."""
    checkpoint: OnLedger[NamedCheckpoint]
    """A checkpoint that has the proposal, and that the recording coordinator has verified."""


class PartyWithdrawalDeclared(Action):
    """A coordinator declares that its party leaves the agreement, after the period of notice.

    From the day on, the party's agencies only answer what they owe and confirm the erasure.
    """

    kind: ClassVar[str] = "party_withdrawal_declared"
    stage: ClassVar[S] = S.COORDINATION

    party: OnLedger[Country]
    """The coordinator's own party."""
    day: OnLedger[date]
    """The first day, in UTC, on which it is no party any more."""
    reason: OnLedger[Annotated[Text, Field(max_length=1000)] | None] = None


class PartyWithdrawalRevoked(Action):
    """A coordinator takes its party's declaration back, before the day."""

    kind: ClassVar[str] = "party_withdrawal_revoked"
    stage: ClassVar[S] = S.COORDINATION

    declaration: OnLedger[ActionId]
    """The action that declared the withdrawal."""


class WitnessesAligned(Action):
    """A coordinator or a node has the log's policy follow the parties that joined and left.

    The policy then has the witnesses of the parties in force: those that the texts name for parties
    that joined, and none of parties that left. Nobody chooses anything here.
    """

    kind: ClassVar[str] = "witnesses_aligned"
    stage: ClassVar[S] = S.COORDINATION


class KeyRegistered(Action):
    """A coordinator registers a key for an agency of the coordinator's own country.

    Where the protocol asks for a second party, the key counts once that party has confirmed it.
    """

    kind: ClassVar[str] = "key_registered"
    stage: ClassVar[S] = S.COORDINATION

    grant: OnLedger[KeyGrant]
    member: OnLedger[MemberId | None] = None
    """The pseudonym of the member who holds the key. Left out: a system of the agency holds it."""


class KeyRevoked(Action):
    """A coordinator revokes a key; what it signed before stays valid.

    Where the protocol asks for a second party, the key counts until that party has confirmed the
    revocation. The agency itself revokes its own key at once.
    """

    kind: ClassVar[str] = "key_revoked"
    stage: ClassVar[S] = S.COORDINATION

    key_id: OnLedger[KeyId]


class KeyCompromised(Action):
    """A coordinator declares that a key was in other hands since a time, now or long after.

    The key is revoked with it. What it signed stays recorded; what was recorded since then
    is marked on the trail.
    """

    kind: ClassVar[str] = "key_compromised"
    stage: ClassVar[S] = S.COORDINATION

    key_id: OnLedger[KeyId]
    since: OnLedger[UtcDatetime]


class CoordinatorKeyRecovered(Action):
    """Another party's coordinator registers a key for a coordinator that lost every one.

    The key counts once the coordinator of every other party has signed it, and not before seven
    days are over since the first: one of them signs it then, which completes it. Any act on the
    protocol that the coordinator itself signs meanwhile ends the attempt.
    """

    kind: ClassVar[str] = "coordinator_key_recovered"
    stage: ClassVar[S] = S.COORDINATION

    grant: OnLedger[KeyGrant]


class KeyChangeConfirmed(Action):
    """Another party confirms the registration or the revocation of a key, which then counts."""

    kind: ClassVar[str] = "key_change_confirmed"
    stage: ClassVar[S] = S.COORDINATION

    proposal: OnLedger[ActionId]
    """The action that registered, revoked or declared the key compromised."""


class KeyChangeDeclined(Action):
    """Another party declines a change that waits for it, or its coordinator withdraws it."""

    kind: ClassVar[str] = "key_change_declined"
    stage: ClassVar[S] = S.COORDINATION

    proposal: OnLedger[ActionId]


RoleName = Annotated[str, Field(pattern=r"^[a-z][a-z_]{1,39}$")]
Names = Annotated[dict[LanguageTag, Name], Field(min_length=1, max_length=24)]
"""A name in several languages, by the language's tag."""


class Office(LedgerModel):
    """An office's own address, e-mail and telephone, and no person's.

    It is kept for ever, and every party sees it.
    """

    address: Name | None = None
    email: EmailAddress | None = None
    telephone: TelephoneNumber | None = None


class _NewAgency(Action):
    agency: OnLedger[AgencyId]
    """An id that no agency has or had. It need not begin with the country's code."""
    role: OnLedger[RoleName]
    """A role that the protocol declares."""
    name: OnLedger[Name]
    names: OnLedger[Names | None] = None
    city: OnLedger[Name | None] = None
    office: OnLedger[Office | None] = None


class AgencyRegistered(_NewAgency):
    """A coordinator registers an agency of its own country.

    An oversight body counts once another party's coordinator has confirmed it.
    """

    kind: ClassVar[str] = "agency_registered"
    stage: ClassVar[S] = S.COORDINATION


class AgencyInvited(_NewAgency):
    """A coordinator invites an international body, such as IOM, UNHCR or an NGO.

    The body works through the node of the country that invited it. It sees a case once a country
    of the case names it.
    """

    kind: ClassVar[str] = "agency_invited"
    stage: ClassVar[S] = S.COORDINATION


class AgencyRenamed(Action):
    """A coordinator gives an agency of its own country another name, city or office.

    A field that is left out stays as it was. ``names`` replaces the names in all languages.
    """

    kind: ClassVar[str] = "agency_renamed"
    stage: ClassVar[S] = S.COORDINATION

    agency: OnLedger[AgencyId]
    name: OnLedger[Name | None] = None
    names: OnLedger[Names | None] = None
    city: OnLedger[Name | None] = None
    office: OnLedger[Office | None] = None


class AgencyRetired(Action):
    """A coordinator retires an agency of its own country, for ever.

    Its keys end. No action names it any more. Its coordinator answers for its leads and for what
    it owes. An oversight body is retired once another party's coordinator has confirmed it.
    """

    kind: ClassVar[str] = "agency_retired"
    stage: ClassVar[S] = S.COORDINATION

    agency: OnLedger[AgencyId]
    reason: OnLedger[Annotated[Text, Field(max_length=1000)] | None] = None


class AgencyChangeConfirmed(Action):
    """Another party confirms that an oversight body is registered or retired: it then counts."""

    kind: ClassVar[str] = "agency_change_confirmed"
    stage: ClassVar[S] = S.COORDINATION

    proposal: OnLedger[ActionId]
    """The action that registered or retired the oversight body."""


class AgencyChangeDeclined(Action):
    """Another party declines such a change, or the coordinator that proposed it withdraws it."""

    kind: ClassVar[str] = "agency_change_declined"
    stage: ClassVar[S] = S.COORDINATION

    proposal: OnLedger[ActionId]


class ContactPointNamed(Action):
    """A coordinator names a contact point of its party for the procedure, or a deputy.

    The act names a function in an agency and how that office is reached. It names no person: what
    is on the ledger is kept for ever. ``replaces`` ends an earlier contact point of the party.
    """

    kind: ClassVar[str] = "contact_point_named"
    stage: ClassVar[S] = S.COORDINATION

    agency: OnLedger[AgencyId]
    """The agency in which the contact point works."""
    function: OnLedger[Name]
    """Such as "Head of the Anti-Trafficking Unit". No person's name."""
    functions: OnLedger[Names | None] = None
    deputy: OnLedger[bool] = False
    languages: OnLedger[Languages]
    """The languages in which the contact point can be spoken to."""
    office: OnLedger[Office]
    replaces: OnLedger[ActionId | None] = None


class ContactPointEnded(Action):
    """A coordinator ends a contact point of its party."""

    kind: ClassVar[str] = "contact_point_ended"
    stage: ClassVar[S] = S.COORDINATION

    contact: OnLedger[ActionId]
    """The action that named it."""


class ContactCardGiven(Action):
    """A coordinator gives the card of the person who holds a contact point of its party.

    The ledger has digests alone. The vaults of the parties have the fields, until another card
    takes the place of this one, or the card or the contact point ends.
    """

    kind: ClassVar[str] = "contact_card_given"
    stage: ClassVar[S] = S.COORDINATION

    contact: OnLedger[ActionId]
    """The action that named the contact point."""
    full_name: OnCase[Name]
    telephone_24h: OnCase[TelephoneNumber | None] = None
    """Answered at all hours."""
    email: OnCase[EmailAddress | None] = None


class ContactCardEnded(Action):
    """A coordinator ends the card of a contact point, as the person leaves the function."""

    kind: ClassVar[str] = "contact_card_ended"
    stage: ClassVar[S] = S.COORDINATION

    contact: OnLedger[ActionId]
    """The action that named the contact point."""


class LogPolicyAdopted(Action):
    """A party's coordinator adopts a policy: the log's key and address, the witnesses, the quorum.

    It is in force once every party has adopted the same text, from the next event on. This
    is how keys of the log and of witnesses change, and how another node takes the ledger over.
    The vote counts in the history of its checkpoint alone.
    """

    kind: ClassVar[str] = "log_policy_adopted"
    stage: ClassVar[S] = S.COORDINATION

    policy: OnLedger[Annotated[str, Field(min_length=1, max_length=MAX_POLICY)]]
    without: OnLedger[Countries | None] = None
    """The absent parties without which the policy is to be in force."""
    checkpoint: OnLedger[NamedCheckpoint | None] = None
    """A checkpoint that the voter has verified. Required from edition 2 of the rules on."""


class AbsenceAnnounced(Action):
    """A coordinator announces that another party is away, and on what the others will vote.

    After the protocol's days of notice the party counts as absent for these votes. Any act on the
    protocol by that party's coordinator or node ends the announcement.
    """

    kind: ClassVar[str] = "absence_announced"
    stage: ClassVar[S] = S.COORDINATION

    party: OnLedger[Country]
    subjects: OnLedger[Annotated[tuple[VoteSubject, ...], Field(min_length=1, max_length=2)]]


class PresenceDeclared(Action):
    """A party that is announced as absent declares that it is here, by its coordinator or node."""

    kind: ClassVar[str] = "presence_declared"
    stage: ClassVar[S] = S.COORDINATION


class CountryKeyRegistered(Action):
    """A coordinator registers the key that others seal to, for the coordinator's own country.

    The last one counts. What is sealed to it travels; it signs nothing.
    """

    kind: ClassVar[str] = "country_key_registered"
    stage: ClassVar[S] = S.COORDINATION

    key: OnLedger[CountryKey]


class ReadingsAnchored(Action):
    """A country's node fixes how far its access log goes, and the hash that covers all of it.

    From then on nobody, the vault's owner included, changes or drops an entry before unnoticed.
    """

    kind: ClassVar[str] = "readings_anchored"
    stage: ClassVar[S] = S.COORDINATION

    entries: OnLedger[Annotated[int, Field(ge=1, lt=2**53)]]
    head: OnLedger[Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]]
    """SHA-256, as the log's last entry has it."""
