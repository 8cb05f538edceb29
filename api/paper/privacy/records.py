"""Records of processing activities (GDPR, Article 30), as a template that the protocol fills."""

from collections.abc import Iterator

from api.paper.privacy.laws import LAWS
from api.paper.privacy.measures import MEASURES
from api.paper.privacy.page_parts import (
    BLANK,
    agencies_of,
    fields_at,
    fields_by_group,
    made_by,
    names,
    party_of,
    periods,
    roles_that,
    table,
)
from ledger.procedure.protocol import NODE, Operation, Protocol
from ledger.vocabulary import CASE_ACTIONS
from ledger.vocabulary.levels import FieldGroup, Level
from ledger.vocabulary.picklists import LegalBasis, Purpose

_GDPR = "https://eur-lex.europa.eu/eli/reg/2016/679/oj"
_PURPOSES = {
    Purpose.IDENTIFICATION: "to identify victims of trafficking and persons at risk",
    Purpose.PROTECTION: "to protect and assist them, and to protect whose data was opened",
    Purpose.PROCEEDINGS: "proceedings against those who exploit them",
    Purpose.RETURN: "assisted voluntary return",
    Purpose.REINTEGRATION: "reintegration",
    Purpose.DANGER_TO_LIFE: "danger to life",
    Purpose.SUBJECT_ACCESS: "to give the person their own file",
}
_BASES = {
    LegalBasis.CONSENT: "consent that names the group, recorded in the case",
    LegalBasis.BEST_INTERESTS: "a decision on the best interests of a child, recorded in the case",
    LegalBasis.DUTY: "a duty of the protocol, while the facts that it names hold of the case",
    LegalBasis.DANGER_TO_LIFE: "an access in danger to life, which others review afterwards",
}
_SPECIAL = {
    FieldGroup.HEALTH: "special category (Article 9)",
    FieldGroup.EXPLOITATION: "may concern sex life and offences (Articles 9 and 10)",
    FieldGroup.PROCEEDINGS: "offences (Article 10)",
}


def records_page(protocol: Protocol, party: str) -> str:
    """Return the records of one party in Markdown.

    Raises ``ValueError`` if the protocol has no such party.
    """
    return "\n".join(_lines(protocol, party)) + "\n"


def _lines(protocol: Protocol, party: str) -> Iterator[str]:
    own = party_of(protocol, party)
    yield f"# Records of processing: {own.name}"
    yield ""
    yield f"**Reference.** {made_by(f'records {party}', protocol)}"
    yield ""
    yield (
        f"The sections follow [Article 30(1) of the GDPR]({_GDPR}). Each agency that is a"
        " controller keeps records; this paper has what all agencies of the country have in"
        " common. The assignment of legal terms to the protocol's roles is a reading of the"
        " procedure."
    )
    yield ""
    yield from _law(party)
    yield "## (a) Controllers"
    yield ""
    yield from table(
        ("", ""),
        (
            (
                "joint controllers",
                f"the agencies below, by the [arrangement](agreement.md): {BLANK}",
            ),
            ("address and contact", BLANK),
            ("data-protection officer, with contact", BLANK),
            ("representative, if one is needed", BLANK),
            ("processor that runs the node, with contract (Article 28)", BLANK),
            ("record kept since, last checked", BLANK),
        ),
    )
    yield ""
    yield from table(
        ("agency", "role", "city"),
        (
            (
                f"{one.name} (`{one.id}`)",
                protocol.roles.get(one.role, one.role),
                one.city or BLANK,
            )
            for one in agencies_of(protocol, party)
        ),
    )
    yield ""
    yield from _purposes()
    yield from _categories()
    yield from _recipients(protocol, party)
    yield from _transfers(protocol, party)
    yield "## (f) Time limits for erasure"
    yield ""
    yield (
        "After the closing of a case, while no legal hold is in force. An erasure is announced on"
        " the ledger before it, and every country of the case confirms it."
    )
    yield ""
    yield from periods(protocol)
    yield ""
    yield (
        "Everything else that a node stores, with what ends it: [retention](retention.md). Two"
        " parties together may order an erasure at any time. The signed actions of the ledger stay"
        " for ever; they have no field of a person that could be opened after an erasure."
    )
    yield ""
    yield "## (g) Security measures"
    yield ""
    yield from table(
        ("measure", "code", "shown by"),
        ((one.says, f"`{one.code}`", f"`{one.test}`") for one in MEASURES),
    )
    yield ""
    yield "What is *not* protected is in the [threat model](../threat-model.md#not-yet)."
    yield ""
    yield (
        f"Measures outside of the program (buildings, training, contracts, logs of the machine):"
        f" {BLANK}"
    )


def _law(party: str) -> Iterator[str]:
    yield "## The country's law"
    yield ""
    law = LAWS.get(party)
    if law is None:
        yield f"Law: {BLANK} Supervisory authority: {BLANK}"
    else:
        yield from table(
            ("", ""),
            (
                ("law", law.title),
                ("supervisory authority", law.authority),
                ("known of it", law.known),
                ("articles on records, joint controllers and breaches", BLANK),
                ("registration or consultation of the authority", BLANK),
            ),
        )
        yield ""
        yield (
            "These facts are from published overviews, not from the law's own text: "
            + ", ".join(f"<{one}>" for one in law.sources)
            + ". Check them."
        )
    yield ""


def _purposes() -> Iterator[str]:
    yield "## (b) Purposes, and legal bases"
    yield ""
    yield "Each reading of a personal field names one of these purposes:"
    yield ""
    yield from table(
        ("purpose", "meaning"), ((f"`{one}`", text) for one, text in _PURPOSES.items())
    )
    yield ""
    yield "and stands on one of these bases, which is an event of the case:"
    yield ""
    yield from table(
        ("basis in the program", "meaning", "article of the law"),
        ((f"`{one}`", text, BLANK) for one, text in _BASES.items()),
    )
    yield ""


def _categories() -> Iterator[str]:
    yield "## (c) Categories of persons and of data"
    yield ""
    yield (
        "**Persons**: victims of trafficking and persons at risk, children among them; members of"
        " their family, guardians and hosts, as far as a field of the case names them; people who"
        " work for agencies (pseudonyms; names within their own country, and as contact points and"
        " case managers)."
    )
    yield ""
    yield "**Personal fields**, each sealed under the person's key and opened on a legal basis:"
    yield ""
    yield from table(
        ("group", "fields", "note"),
        (
            (f"`{group}`", names(f"`{one}`" for one in fields), _SPECIAL.get(group, ""))
            for group, fields in fields_by_group().items()
        ),
    )
    yield ""
    yield (
        "**Fields of the case** (level `case`), sealed and open to the agencies of the countries of"
        f" the case: {names(f'`{one}`' for one in fields_at(Level.CASE))}."
    )
    yield ""
    yield (
        "**Fields of the ledger** (level `ledger`), which every party sees and which stay for ever."
        " They name no person. Together with other knowledge they can tell of one, so they count as"
        " pseudonymous data: the kind and the time of"
        f" {len(CASE_ACTIONS)} sorts of action, and"
        f" {names(f'`{one}`' for one in fields_at(Level.LEDGER))}."
    )
    yield ""


def _recipients(protocol: Protocol, party: str) -> Iterator[str]:
    yield "## (d) Recipients"
    yield ""
    yield (
        "Roles that may ever open a group, by the access matrix ([whole matrix](../access.md))."
        " Every opening needs a legal basis of the case too, and is in the access log."
    )
    yield ""
    yield from table(
        ("group", "read in the own country", "release to another country", "in danger to life"),
        (
            (
                f"`{group}`",
                names(roles_that(protocol, Operation.READ, group)),
                names(roles_that(protocol, Operation.RELEASE, group)),
                names(roles_that(protocol, Operation.BREAK_GLASS, group)),
            )
            for group in FieldGroup
        ),
    )
    yield ""
    bodies = [one for one in agencies_of(protocol, party) if one.international]
    named = names(f"{one.name} (`{one.id}`)" for one in bodies)
    nodes = names(f"`{one.id}`" for one in agencies_of(protocol, party) if one.role == NODE)
    yield (
        f"International bodies that the country invited: {named}. The country's node ({nodes})"
        f" stores and sends; whether its operator is a processor: {BLANK} The person"
        " gets the own file from an agency with the right to hand it over."
    )
    yield ""


def _transfers(protocol: Protocol, party: str) -> Iterator[str]:
    yield "## (e) Transfers to other countries"
    yield ""
    yield (
        "Fields at level `case` go to the countries of the case. Personal fields go by a release"
        " alone: an action that names the recipient, the fields, the purpose and the basis."
    )
    yield ""
    yield from table(
        (
            "country",
            "its law",
            "adequacy or safeguard (Articles 45, 46)",
            "derogation (Article 49)",
        ),
        (
            (
                f"{one.name} ({one.code})",
                law.title if (law := LAWS.get(one.code)) is not None else BLANK,
                BLANK,
                BLANK,
            )
            for one in protocol.parties
            if one.code != party
        ),
    )
    yield ""
    abroad = [duty for duty in protocol.duties if duty.to_other_countries]
    if abroad:
        yield "Groups that go abroad on a duty of the protocol, without consent of a child:"
        yield ""
        yield from table(
            ("roles", "groups", "while", "for an adult also"),
            (
                (
                    names(duty.roles),
                    names(f"`{group}`" for group in duty.groups),
                    names(duty.after),
                    names(duty.after_for_adult),
                )
                for duty in abroad
            ),
        )
        yield ""
