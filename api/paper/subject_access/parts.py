"""The parts of a person's file: one for each field group, and one for the case.

A document is of one field group. One document of the whole file would open every group to whoever
may read that one.
"""

from collections.abc import Iterator

from api.paper.subject_access.document import SubjectFile
from ledger.vocabulary.levels import FieldGroup


def parts(file: SubjectFile) -> Iterator[tuple[FieldGroup | None, SubjectFile]]:
    """Yield the part of the case, and that of each field group in which something is held.

    Fields that another country released are left out: the part is a document of this country, which
    may release it. The list of readings is left out too; only the part of the case has the trail.
    """
    own = [one for one in file.held if one.received_from is None]
    for group in (None, *FieldGroup):
        held = tuple(one for one in own if one.group is group)
        if group is None or held:
            trail = file.trail if group is None else ()
            yield group, file.model_copy(update={"held": held, "accesses": (), "trail": trail})
