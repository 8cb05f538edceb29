"""The base of every case action, and all that follows from a model's declared levels."""

from collections.abc import Iterator, Mapping
from functools import cache
from types import MappingProxyType
from typing import Annotated, Any, ClassVar, TypeVar

from pydantic import BaseModel, ConfigDict, TypeAdapter, create_model
from pydantic.fields import FieldInfo

from ledger.vocabulary.levels import CASE, LEDGER, FieldGroup, FieldLevel, Level, personal
from ledger.vocabulary.picklists import Stage
from ledger.vocabulary.types import UtcDatetime

T = TypeVar("T")

OnLedger = Annotated[T, LEDGER]
OnCase = Annotated[T, CASE]
Identity = Annotated[T, personal(FieldGroup.IDENTITY)]
Contact = Annotated[T, personal(FieldGroup.CONTACT)]
Family = Annotated[T, personal(FieldGroup.FAMILY)]
Health = Annotated[T, personal(FieldGroup.HEALTH)]
Exploitation = Annotated[T, personal(FieldGroup.EXPLOITATION)]
Proceedings = Annotated[T, personal(FieldGroup.PROCEEDINGS)]
Whereabouts = Annotated[T, personal(FieldGroup.WHEREABOUTS)]
Care = Annotated[T, personal(FieldGroup.CARE)]


class LedgerModel(BaseModel):
    """Base of every model at an edge: frozen, and unknown fields are refused.

    A model is built when it is first used: no command uses them all.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True, defer_build=True)


class Action(LedgerModel):
    """An act of an agency. ``kind`` is the name by which it travels.

    Every field declares its level; a subclass that leaves one out cannot be defined.
    """

    kind: ClassVar[str]
    stage: ClassVar[Stage]
    between_fields: ClassVar[Mapping[str, Any]] = MappingProxyType({})
    """The model's rules on several fields together, as keywords of JSON Schema."""
    example_fields: ClassVar[tuple[str, ...]] = ()
    """The fields that an example of the action has besides the required ones."""

    acted_at: OnLedger[UtcDatetime]
    """When the act took place, which may be long before it is recorded."""

    @classmethod
    def __pydantic_init_subclass__(cls, **kwargs: Any) -> None:
        super().__pydantic_init_subclass__(**kwargs)
        for name, field in cls.model_fields.items():
            if not any(isinstance(m, FieldLevel) for m in field.metadata):
                raise TypeError(f"{cls.__name__}.{name} declares no field level")

    @classmethod
    def level(cls, field: str) -> FieldLevel:
        """Return the declared level of ``field``.

        Raises ``KeyError`` if the action has no such field.
        """
        return _levels(cls)[field]

    @classmethod
    def ledger_fields(cls) -> tuple[str, ...]:
        return _fields_of(cls, is_ledger=True)

    @classmethod
    def disclosable_fields(cls) -> tuple[str, ...]:
        return _fields_of(cls, is_ledger=False)

    def ledger_claims(self) -> dict[str, Any]:
        """Return the ``ledger`` fields that are set, as JSON values."""
        return self.model_dump(mode="json", include=set(self.ledger_fields()), exclude_none=True)

    def disclosable_claims(self) -> dict[str, Any]:
        """Return the ``case`` and ``personal`` fields that are set, as JSON values."""
        return self.model_dump(
            mode="json", include=set(self.disclosable_fields()), exclude_none=True
        )


@cache
def _levels(model: type[Action]) -> Mapping[str, FieldLevel]:
    return {
        name: next(m for m in field.metadata if isinstance(m, FieldLevel))
        for name, field in model.model_fields.items()
    }


@cache
def _fields_of(model: type[Action], *, is_ledger: bool) -> tuple[str, ...]:
    levels = _levels(model).items()
    return tuple(name for name, own in levels if (own.level is Level.LEDGER) is is_ledger)


@cache
def ledger_part(model: type[Action]) -> type[LedgerModel]:
    """Return the model of an action's ``ledger`` fields: all that the ledger node sees."""
    fields: dict[str, Any] = {
        name: (_annotation(model.model_fields[name]), model.model_fields[name])
        for name in model.ledger_fields()
    }
    return create_model(f"{model.__name__}OnLedger", __base__=LedgerModel, **fields)


@cache
def field_adapter(model: type[Action], field: str) -> TypeAdapter[Any]:
    """Return an adapter that validates the value of one disclosable field on its own."""
    return TypeAdapter(_annotation(model.model_fields[field]))


@cache
def values_of(model: type[Action], field: str) -> tuple[str, ...]:
    """Return the values that a field of a picklist can have; none for a field of another sort."""
    schema = field_adapter(model, field).json_schema()
    return tuple(_listed(schema, schema.get("$defs", {})))


def _listed(schema: Mapping[str, Any], named: Mapping[str, Any]) -> Iterator[str]:
    """Yield the values that a JSON schema lists."""
    yield from schema.get("enum", ())
    if "const" in schema:
        yield schema["const"]
    if "$ref" in schema:
        yield from _listed(named[schema["$ref"].rpartition("/")[2]], named)
    for one in schema.get("anyOf", ()):
        yield from _listed(one, named)


def _annotation(field: FieldInfo) -> Any:
    annotation: Any = field.annotation
    for item in field.metadata:
        annotation = Annotated[annotation, item]
    return annotation


def actions_by_kind(models: tuple[type[Action], ...]) -> Mapping[str, type[Action]]:
    """Index action models by kind.

    Raises ``TypeError`` if two models share a kind.
    """
    index: dict[str, type[Action]] = {}
    for model in models:
        if index.setdefault(model.kind, model) is not model:
            raise TypeError(f"two actions are called {model.kind!r}")
    return index
