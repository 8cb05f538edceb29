"""Problem details (RFC 9457, https://www.rfc-editor.org/rfc/rfc9457) as the API answers them."""

from pydantic import BaseModel, ConfigDict


class FieldError(BaseModel):
    """One part of a request that does not hold."""

    field: str
    message: str


class ProblemDetails(BaseModel):
    """RFC 9457 problem details."""

    model_config = ConfigDict(frozen=True)

    type: str
    title: str
    status: int
    detail: str | None = None
    """The fault and the remedy, in the language that the request asked for (Accept-Language)."""
    detail_en: str | None = None
    """The detail in English, if ``detail`` is in another language. It may be more exact."""
    rule: str
    """The stable name of the rule that refused."""
    field: str | None = None
    """The field at fault, by its path."""
    errors: tuple[FieldError, ...] | None = None
