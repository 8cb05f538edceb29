"""An arrangement of joint controllers (GDPR, Article 26), as a template that the protocol fills."""

from collections.abc import Iterator

from api.paper.privacy.laws import LAWS
from api.paper.privacy.page_parts import (
    BLANK,
    agencies_of,
    made_by,
    names,
    periods,
    roles_that,
    table,
)
from ledger.procedure.protocol import COORDINATOR, NODE, OVERSIGHT, Operation, Protocol
from ledger.vocabulary.levels import FieldGroup

_GDPR = "https://eur-lex.europa.eu/eli/reg/2016/679/oj"


def agreement_page(protocol: Protocol) -> str:
    """Return the arrangement between the parties in Markdown."""
    return "\n".join(_lines(protocol)) + "\n"


def _lines(protocol: Protocol) -> Iterator[str]:
    yield "# Arrangement of joint controllers"
    yield ""
    yield f"**Reference.** {made_by('agreement', protocol)}"
    yield ""
    yield (
        f"It follows [Article 26 of the GDPR]({_GDPR}). Whether the agencies are joint controllers,"
        " and which law governs the arrangement, is for the parties to decide. Paragraphs that"
        " begin with *Reading* say how this program understands the procedure; no authority"
        " published them."
    )
    yield ""
    yield "## 1. The controllers"
    yield ""
    yield from table(
        ("party", "coordinator", "oversight", "node", "law", "signs for it"),
        (
            (
                f"{one.name} ({one.code})",
                _named(protocol, one.code, COORDINATOR),
                _named(protocol, one.code, OVERSIGHT),
                _named(protocol, one.code, NODE),
                law.title if (law := LAWS.get(one.code)) is not None else BLANK,
                BLANK,
            )
            for one in protocol.parties
        ),
    )
    yield ""
    yield from table(
        ("party", "agencies that record and read"),
        (
            (
                one.code,
                names(f"`{a.id}`" for a in agencies_of(protocol, one.code) if a.role != NODE),
            )
            for one in protocol.parties
        ),
    )
    yield ""
    yield (
        "A country registers and retires its own agencies. The list in force is on the ledger:"
        " `case-ledger agencies list`."
    )
    yield ""
    yield "## 2. Subject and purposes"
    yield ""
    yield (
        "The controllers keep one record of the cases of victims of trafficking, so that each of"
        " them does what the protocol asks of it. Purposes, categories of data and recipients are"
        " in the records of each country ([example](records.md))."
    )
    yield ""
    yield "## 3. Who does what"
    yield ""
    yield from table(("duty", "who", "how the program does it, and where it shows"), _duties())
    yield ""
    yield "## 4. What goes to another country"
    yield ""
    yield from table(
        ("group", "roles that may release it", "roles that may ask for it"),
        (
            (
                f"`{group}`",
                names(roles_that(protocol, Operation.RELEASE, group)),
                names(roles_that(protocol, Operation.REQUEST, group)),
            )
            for group in FieldGroup
        ),
    )
    yield ""
    yield (
        "*Reading.* A release stands on a basis that the ledger node checks before it records it."
        " A withdrawal of the consent ends further readings in every country. A country that"
        " received a field becomes a controller of its copy, and erases it with the others."
    )
    yield ""
    yield "## 5. Periods"
    yield ""
    yield from periods(protocol)
    yield ""
    yield from table(("other period", "days"), _other_periods(protocol))
    yield ""
    yield "*Reading.* A period whose authority is `assumption` is for the parties to decide."
    yield ""
    yield "## 6. Leaving"
    yield ""
    terms = protocol.withdrawal_terms
    yield (
        f"A party leaves {terms.notice_days} days after its declaration at the earliest. Within"
        f" {terms.erase_within_days} days of its last day it erases what it received, and its node"
        " confirms that on the ledger. Its own fields stay with it."
    )
    yield ""
    yield "## 7. The essence for the persons (Article 26(2))"
    yield ""
    yield (
        "The person's own file says in the person's language who read which fields, for what and on"
        f" which basis (`case-ledger subject-access`). Where else the essence is published: {BLANK}"
    )
    yield ""
    yield "## 8. To fill in"
    yield ""
    yield from table(
        ("", ""),
        (
            ("contact point for the persons (Article 26(1))", BLANK),
            ("data-protection officer of each controller", BLANK),
            ("processors: operators of nodes, of databases, of mail", BLANK),
            ("liability between the controllers (Article 82)", BLANK),
            ("costs", BLANK),
            ("governing law, settling of disputes", BLANK),
            ("in force from, reviewed every", BLANK),
            ("signatures", BLANK),
        ),
    )


def _duties() -> Iterator[tuple[str, str, str]]:
    yield (
        "to inform the person (Articles 13, 14)",
        f"the agency that first meets the person: {BLANK}",
        "outside of the program; consents are recorded with what was explained",
    )
    yield (
        "access (Article 15)",
        "any agency with the right to hand over the file, in each country for its own vault",
        "`case-ledger subject-access`; the access log has an entry",
    )
    yield (
        "rectification (Article 16)",
        "the agency that recorded the statement, or its coordinator",
        "`rectification_requested`, a newer statement, `rectification_declined`; an obligation with"
        " a deadline",
    )
    yield (
        "erasure (Article 17)",
        "two parties together; every country of the case carries it out",
        "`erasure_proposed`, `erasure_approved`, `erasure_confirmed`; `case-ledger retention list`",
    )
    yield (
        "restriction and objection (Articles 18, 21)",
        BLANK,
        "a refusal of the person (`refusal_recorded`) stops releases; nothing else is restricted",
    )
    yield (
        "security (Article 32)",
        "each country for its node and its keys",
        "[measures](records.md#g-security-measures)",
    )
    yield (
        "breach: to find out what was seen",
        "the coordinator or the oversight body of each country, for its own access log",
        "`case-ledger breach`",
    )
    yield (
        "breach: to notify the authority within 72 hours, and the persons (Articles 33, 34)",
        f"the controller where it happened; the others are told at once: {BLANK}",
        "`case-ledger breach` drafts the facts and counts the hours; nobody is notified by it",
    )
    yield (
        "impact assessment (Article 35)",
        BLANK,
        "the technical half: [impact assessment](impact-assessment.md)",
    )
    yield (
        "records (Article 30)",
        "each controller",
        "`case-ledger privacy records`",
    )


def _other_periods(protocol: Protocol) -> Iterator[tuple[str, str]]:
    terms, person = protocol.accountability_terms, protocol.person_record
    yield "review of an access in danger to life", str(terms.review_days)
    yield "confirmation of an erasure by each country", str(terms.erasure_days)
    yield "a destruction can be stopped", str(terms.destruction_grace_days)
    if terms.approval_days is not None:
        yield "approval of an erasure or a destruction", str(terms.approval_days)
    if person is not None:
        yield "answer to a request to rectify", str(person.rectification_days)


def _named(protocol: Protocol, party: str, role: str) -> str:
    return names(f"`{one.id}`" for one in agencies_of(protocol, party) if one.role == role)
