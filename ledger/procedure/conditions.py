"""The parts of a protocol's rules that name values, bodies and periods, as data.

``ledger.procedure.condition_checks`` checks actions against them.
"""

from collections.abc import Mapping
from datetime import date
from enum import StrEnum
from typing import Annotated, Any, Self

from pydantic import Field, model_validator

from ledger.vocabulary.action import LedgerModel
from ledger.vocabulary.types import Country

Role = Annotated[str, Field(pattern=r"^[a-z][a-z_]{1,39}$")]
Fact = Annotated[str, Field(pattern=r"^[A-Za-z_{}]{1,60}$")]
"""Something that holds of a case while it is in force. A pattern such as
``consent_{scopes}`` stands for one fact per value of that ``ledger`` field."""
FieldName = Annotated[str, Field(pattern=r"^[a-z][a-z_]{0,59}$")]
ConditionName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{1,59}$")]
FieldOfFact = Annotated[str, Field(pattern=r"^[A-Za-z_]{1,60}\.[a-z][a-z_]{0,59}$")]
"""A fact and a field of the action that established it: ``return_requested.destination``."""


class Standing(StrEnum):
    """The authority that a rule, a deadline, a period or a duty of the protocol has."""

    SOURCE = "source"
    """A published source has it: :attr:`Marked.source` names the source."""
    ASSUMPTION = "assumption"
    """The authors of this program assumed it. It makes no party late."""
    ADOPTED = "adopted"
    """The parties adopted it, as they may adopt an assumption by an amendment."""


class Marked(LedgerModel):
    """A part of the protocol that says which authority it has.

    A part without a mark stands as the parties signed it."""

    standing: Standing | None = None
    source: Annotated[str, Field(min_length=1, max_length=600)] | None = None
    """The published text, or what of the part a published text has."""

    @model_validator(mode="after")
    def _names_its_source(self) -> Self:
        if self.standing is Standing.SOURCE and self.source is None:
            raise ValueError('standing = "source" needs a source')
        return self

    @property
    def is_assumed(self) -> bool:
        """Return whether the part is only assumed: no party is late by it."""
        return self.standing is Standing.ASSUMPTION


class Persons(StrEnum):
    """The persons to whom a condition applies."""

    CHILDREN = "children"
    ADULTS = "adults"


class FieldValue(LedgerModel):
    """A field of an action with one of some values.

    With ``fact``, the action is the one that established the fact; without, it is the action that
    is judged. A field with several values has one of them among its own.
    """

    fact: Fact | None = None
    field: FieldName
    values: Annotated[tuple[bool | str, ...], Field(min_length=1)]


class Condition(FieldValue, Marked):
    """A value that a field must have for an action to be possible.

    A condition on a fact that is not in force says nothing: ``requires`` asks for the fact.
    """

    persons: Persons | None = None
    """Without it, the condition concerns all persons."""
    when: FieldValue | None = None
    """The condition counts only where this holds too."""
    of_each_party: bool = False
    """Whether the newest such action of each party counts, instead of the fact in force alone."""
    unless: str | None = None
    """The kind of action by which a body that the protocol names decides against the value. It
    names the action in its field ``overrides``."""


class Bodies(Marked):
    """The bodies of some parties that decide: one role of several, or several roles together."""

    parties: tuple[Country, ...] = ()
    """The parties; without any, every party that no other entry names."""
    roles: Annotated[tuple[Role, ...], Field(min_length=1)]
    """The roles that record the decision."""
    together: tuple[Role, ...] = ()
    """The roles of the same party that must have confirmed it before."""
    together_for_child: tuple[Role, ...] = ()
    """Further such roles, where the person counts as a child."""
    field: FieldName | None = None
    """The field whose value all of them confirm."""
    values: tuple[bool | str, ...] = ()
    """The values of ``field`` that these bodies decide; without any, every value."""
    lowers: tuple[str, ...] = ()
    """The values of ``field``, the lowest first. With it, these bodies decide only an action whose
    value is lower than that of the newest action of this kind by their party."""
    not_while: tuple[Fact, ...] = ()
    """Facts while one of which these bodies are not asked, and the roles of the rule decide."""
    requires: tuple[Fact, ...] = ()
    """The facts that these bodies need, besides those of the rule."""
    since: date | None = None
    """The first day on which these bodies decide. Earlier decisions, as an import brings them, are
    judged by the roles of the rule alone. From edition 2 on, such a decision was recorded before
    that day, or is older than the case's own record."""
    imported_until: date | None = None
    """The last day on which decisions that are older than ``since`` are recorded by the roles of
    the rule alone (edition 2); without it, there is no such day."""


class ValueRule(Marked):
    """The part of a rule that counts where a field of the action has one of some values.

    Example: an assessment that finds a person at risk establishes ``at_risk``."""

    field: FieldName
    values: Annotated[tuple[bool | str, ...], Field(min_length=1)]
    requires: tuple[Fact, ...] = ()
    forbidden_while: tuple[Fact, ...] = ()
    party_that_established: tuple[Fact, ...] = ()
    establishes: tuple[Fact, ...] = ()
    ends: tuple[Fact, ...] = ()

    def is_of(self, fields: Mapping[str, Any]) -> bool:
        """Return whether an action with these ``ledger`` fields has one of the values."""
        given = fields.get(self.field)
        values = given if isinstance(given, list | tuple) else (given,)
        return any(one in self.values and one is not None for one in values)


class Sooner(LedgerModel):
    """A value of the last action after which the next one is due sooner."""

    field: FieldName
    values: Annotated[tuple[bool | str, ...], Field(min_length=1)]
    within_days: Annotated[int, Field(ge=0, le=3660)]


class Repeats(LedgerModel):
    """An expected action is expected again after each one, until the fact that ends it."""

    after: Fact
    """The fact that each such action establishes anew."""
    within_days: Annotated[int, Field(ge=1, le=3660)]
    sooner: tuple[Sooner, ...] = ()


class Reflection(Marked):
    """The recovery and reflection period of some parties."""

    parties: tuple[Country, ...] = ()
    """The parties; without any, every party that no other entry names."""
    days: Annotated[int, Field(ge=30, le=3660)]
    """At least 30 days, by the Convention on Action against Trafficking in Human Beings (CETS 197),
    article 13."""
    after: Fact
    """The fact that begins it."""
    or_after: tuple[Fact, ...] = ()
    """Facts that begin it as well, such as the screening as a potential victim."""
