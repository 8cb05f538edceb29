"""Names a case on paper: by the reference that people say, and by its id."""

from uuid import UUID

from ledger.vocabulary.case_reference import case_reference


def case_number(case_id: UUID) -> str:
    """Return the reference of a case with its whole id: on paper, there is no link to follow."""
    return f"{case_reference(case_id)} ({case_id})"
