"""Old events as today's code reads them: the schema of an action may change, its bytes never do.

An action states in its signed claims which version of its kind's schema it follows; without a
statement it is the first version. A reader brings an event's ``ledger`` fields from that version to
today's by pure functions, one for each step. Nothing stored is changed, and the signature stays
that of the old bytes.

``case`` and ``personal`` fields are not touched: a vault has them by the names and digests of their
time. A later version may add such fields, and gives none of the old ones another meaning.

A later version may also move a ``ledger`` field to the ``case`` level. Events of the older version
still have its value in the clear. Rules, folds and exports do not see that value any more;
:meth:`Upcasters.in_clear` returns it, for the countries of the case.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import chain
from typing import Any

Fields = Mapping[str, Any]


class UnknownVersionError(ValueError):
    """An event follows a later version of its kind's schema than this program knows."""


@dataclass(frozen=True, slots=True)
class Upcaster:
    """One step of one kind's schema, from ``from_version`` to the next."""

    kind: str
    from_version: int
    change: Callable[[Fields], dict[str, Any]]
    """Makes new fields of the old ones, which it leaves as they are."""
    digests: int
    """How many digests an action of the old version carries."""
    to_case: tuple[str, ...] = ()
    """The ``ledger`` fields of the old version that are ``case`` fields in the next."""


class Upcasters:
    """The steps of every kind whose schema has changed, by kind and version."""

    def __init__(self, *steps: Upcaster) -> None:
        """Index the steps by kind.

        Raises ``ValueError`` if a kind's steps do not follow one another from the first.
        """
        self._steps: dict[str, list[Upcaster]] = {}
        for step in sorted(steps, key=lambda step: (step.kind, step.from_version)):
            of_kind = self._steps.setdefault(step.kind, [])
            if step.from_version != len(of_kind) + 1:
                raise ValueError(f"{step.kind} has no step from version {len(of_kind) + 1}")
            of_kind.append(step)

    def __iter__(self) -> Iterator[Upcaster]:
        """Iterate over every step, kind by kind."""
        return chain.from_iterable(self._steps.values())

    def version(self, kind: str) -> int:
        """Return the version in which actions of ``kind`` are signed today."""
        return len(self._steps.get(kind, ())) + 1

    def digests(self, kind: str, version: int) -> int | None:
        """Return how many digests an older version has, or ``None`` for today's version.

        The model of today's version has that number.
        """
        of_kind = self._steps.get(kind, ())
        return of_kind[version - 1].digests if version <= len(of_kind) else None

    def in_clear(self, kind: str, version: int, fields: Fields) -> dict[str, Any]:
        """Return the ``case`` fields of today that an action of ``version`` signed in the clear."""
        found: dict[str, Any] = {}
        for step in self._steps.get(kind, ())[max(version, 1) - 1 :]:
            found |= {name: fields[name] for name in step.to_case if name in fields}
            fields = step.change(fields)
        return found

    def signs_in_clear(self, kind: str, version: int) -> bool:
        """Return whether ``version`` has a ``case`` field of today in the clear."""
        return any(step.to_case for step in self._steps.get(kind, ())[max(version, 1) - 1 :])

    def upcast(self, kind: str, version: int, fields: dict[str, Any]) -> dict[str, Any]:
        """Return the ``ledger`` fields in today's version.

        Raises ``UnknownVersionError`` if the version is not known.
        """
        of_kind = self._steps.get(kind, ())
        if not 1 <= version <= len(of_kind) + 1:
            raise UnknownVersionError(
                f"{kind} is of version {version}; this program knows {len(of_kind) + 1}"
            )
        for step in of_kind[version - 1 :]:
            fields = step.change(fields)
        return fields


def moved_to_case(kind: str, from_version: int, *names: str, digests: int) -> Upcaster:
    """Return the step that moves the fields ``names`` from the ``ledger`` to the ``case`` level."""

    def change(fields: Fields) -> dict[str, Any]:
        return {name: value for name, value in fields.items() if name not in names}

    return Upcaster(kind, from_version, change, digests, names)


UPCASTERS = Upcasters(
    # No rule reads these fields. At ledger level they told every country of the protocol where a
    # person stays, and when and to whom the person travels.
    moved_to_case("sheltered", 1, "shelter_kind", "provider", digests=2),
    moved_to_case("shelter_left", 1, "planned", digests=1),
    moved_to_case("service_started", 1, "provider", digests=3),
    moved_to_case("reintegration_monitored", 1, "next_visit", digests=3),
    moved_to_case("return_decided", 1, "planned_for", "receiving_agency", digests=1),
    moved_to_case("departed", 1, "escort", digests=3),
    moved_to_case("meeting_held", 1, "agencies", digests=2),
    # A grant may carry a proof that the agency holds the key.
    Upcaster("protocol_adopted", 1, dict, digests=0),
    Upcaster("key_registered", 1, dict, digests=0),
    # A key may be a member's, whom the act names by a pseudonym.
    Upcaster("key_registered", 2, dict, digests=0),
    # A confirmation may state up to which version of the case nothing is held any more.
    Upcaster("erasure_confirmed", 1, dict, digests=0),
    # Further values of picklists.
    Upcaster("victim_identified", 1, dict, digests=12),
    Upcaster("protection_measure_taken", 1, dict, digests=1),
    Upcaster("service_started", 2, dict, digests=4),
    Upcaster("travel_document_issued", 1, dict, digests=2),
    Upcaster("departed", 2, dict, digests=4),
    Upcaster("case_reopened", 1, dict, digests=1),
    Upcaster("case_closed", 1, dict, digests=1),
    # An opening may say that the person is protected as a person at risk.
    Upcaster("case_opened", 1, dict, digests=18),
    # A vote names a checkpoint of the history that it is given in.
    Upcaster("log_policy_adopted", 1, dict, digests=0),
    Upcaster("amendment_accepted", 1, dict, digests=0),
    # The kinds that have paper take a document in the same act.
    Upcaster("age_assessed", 1, dict, digests=6),
    Upcaster("best_interests_assessed", 1, dict, digests=2),
    Upcaster("child_born", 1, dict, digests=3),
    Upcaster("consent_given", 1, dict, digests=2),
    Upcaster("death_recorded", 1, dict, digests=2),
    Upcaster("family_assessed", 1, dict, digests=2),
    Upcaster("form_sent", 1, dict, digests=1),
    Upcaster("guardian_appointed", 1, dict, digests=3),
    Upcaster("handover_recorded", 1, dict, digests=7),
    Upcaster("hearing_held", 1, dict, digests=1),
    Upcaster("judgment_given", 1, dict, digests=2),
    Upcaster("meeting_held", 2, dict, digests=3),
    Upcaster("reintegration_monitored", 2, dict, digests=4),
    Upcaster("reintegration_planned", 1, dict, digests=2),
    Upcaster("risk_assessed", 1, dict, digests=2),
    Upcaster("statement_taken", 1, dict, digests=1),
    Upcaster("travel_document_held", 1, dict, digests=2),
    Upcaster("travel_document_issued", 2, dict, digests=2),
    # A second act may sign the document of a first one.
    Upcaster("document_added", 1, dict, digests=10),
    # A version of a document may hide parts of pages, and tells how many pages its original has. A
    # paper that a node made says of which version of the case.
    Upcaster("document_added", 2, dict, digests=13),
)
"""The steps that every reader uses."""


def upcasters() -> Upcasters:
    """Return the upcasters in force."""
    return UPCASTERS
