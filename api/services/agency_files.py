"""The agencies' own file numbers of cases, for the agencies of their own country alone."""

from collections.abc import Collection, Mapping, Sequence
from uuid import UUID

from api.services.case_participation import sees_case
from ledger.application import Ledger
from ledger.procedure.protocol import NODE, OVERSIGHT, Agency
from ledger.refusals import Ground, Refusal
from ledger.vault.file_numbers import FileNumber
from ledger.vault.vault import Vaults

MOST_CASES = 100
"""Cases that one request names, or whose number one text is."""


class AgencyFiles:
    """Sets, shows and finds file numbers. Nothing of it leaves the country."""

    def __init__(self, ledger: Ledger, vaults: Vaults) -> None:
        self._ledger = ledger
        self._vaults = vaults

    def sees(self, agency: Agency) -> bool:
        """Return whether an agency sees and has file numbers.

        Denied are oversight, which reads the fields of every country alone, nodes, and bodies that
        are no agencies of the country.
        """
        return (
            not agency.international
            and agency.role not in (OVERSIGHT, NODE)
            and self._vaults.has(agency.party)
        )

    def put(self, agency: Agency, case_id: UUID, number: str) -> FileNumber:
        """Give a case the agency's own number, in place of an earlier one.

        Raises ``Refusal`` (``no-file-numbers``, ``unknown-case``, ``file-number-form``,
        ``file-number-taken``, ``search-closed``, ``erased-case``).
        """
        self._check(agency)
        self._check_part(agency, case_id)
        numbers = self._vaults.of(agency.party).file_numbers
        numbers.put(case_id, agency.id, number)
        found = numbers.of_cases([case_id]).get(case_id, ())
        return next(one for one in found if one.agency == agency.id)

    def remove(self, agency: Agency, case_id: UUID) -> bool:
        """Take the agency's own number from a case. Returns whether there was one.

        Raises ``Refusal`` (``no-file-numbers``, ``unknown-case``).
        """
        self._check(agency)
        self._check_part(agency, case_id)
        return self._vaults.of(agency.party).file_numbers.remove(case_id, agency.id)

    def asked_for(
        self, agency: Agency, case_ids: Collection[UUID]
    ) -> Mapping[UUID, Sequence[FileNumber]]:
        """Return the numbers of those of the cases in which the agency has part.

        Raises ``Refusal`` (``no-file-numbers``).
        """
        self._check(agency)
        return self.of_listed(agency, self._with_part(agency, case_ids))

    def of_listed(
        self, agency: Agency, case_ids: Collection[UUID]
    ) -> Mapping[UUID, Sequence[FileNumber]]:
        """Return the numbers of cases that the agency was shown; none to who sees none.

        The agency's own number is the first of each case.
        """
        if not self.sees(agency):
            return {}
        found = self._vaults.of(agency.party).file_numbers.of_cases(case_ids)
        return {
            case_id: sorted(numbers, key=lambda one: (one.agency != agency.id, one.agency))
            for case_id, numbers in found.items()
        }

    def find(self, agency: Agency, text: str) -> Sequence[UUID]:
        """Return the cases in which the agency has part and whose number a text is.

        The agency's own cases come first; then those that other agencies of the country number so.
        The result is empty for who sees no numbers, and where the search index does not open.
        """
        if not self.sees(agency):
            return ()
        try:
            found = self._vaults.of(agency.party).file_numbers.find(text, MOST_CASES)
        except Refusal as refusal:
            if refusal.rule != "search-closed":
                raise
            return ()
        ordered = sorted(found, key=lambda one: one[1] != agency.id)
        cases = dict.fromkeys(case_id for case_id, _ in ordered)
        return self._with_part(agency, cases)

    def _with_part(self, agency: Agency, case_ids: Collection[UUID]) -> Sequence[UUID]:
        if not case_ids:
            return ()
        cases = self._ledger.cases(case_ids, keep=False)
        return [
            case_id
            for case_id in case_ids
            if (case := cases.get(case_id)) and sees_case(self._ledger, agency, case)
        ]

    def used_for(self, agency: Agency, text: str) -> UUID | None:
        """Return the case that has a number of this agency already, if one has."""
        if not self.sees(agency):
            return None
        found = self._vaults.of(agency.party).file_numbers.find(text, MOST_CASES)
        return next((case_id for case_id, by in found if by == agency.id), None)

    def _check(self, agency: Agency) -> None:
        if not self.sees(agency):
            raise no_file_numbers()

    def _check_part(self, agency: Agency, case_id: UUID) -> None:
        if not self._with_part(agency, [case_id]):
            raise Refusal(
                Ground.UNKNOWN, "unknown-case", "There is no such case for this agency to see."
            )


def no_file_numbers() -> Refusal:
    """Return the refusal of file numbers to who sees none."""
    return Refusal(
        Ground.NOT_ALLOWED,
        "no-file-numbers",
        "File numbers are for the agencies of a country that work on its cases: not for oversight,"
        " for nodes or for international bodies.",
    )
