"""The list of the JSON Schemas of actions."""

from collections.abc import Sequence
from typing import Literal

from api.client.schemas.document import Document
from ledger.vocabulary.picklists import Stage


class SchemaLink(Document):
    """A schema, and its content's digest."""

    href: str
    """Its path at this node."""
    digest: str
    """The SHA-256 of the content, in hexadecimal. As the parameter `digest` of the path it makes
    an answer that a cache may keep for ever."""


class ActionSchemaLink(SchemaLink):
    """The schema of one version of a kind of action."""

    kind: str
    version: int
    state: Literal["current", "accepted", "recorded"]
    """`current`: programs sign this version. `accepted`: deprecated, new actions of it are still
    accepted. `recorded`: deprecated, new actions of it are refused."""
    subject: Literal["case", "protocol"]
    stage: Stage
    digests: int
    """The number of digests that each action carries, decoys among them."""


class SchemaList(Document):
    """Every schema of this node."""

    bundle: SchemaLink
    """All of them in one document, for use without this node."""
    shared: Sequence[SchemaLink]
    """Those that kinds refer to, and that of the signed payload."""
    actions: Sequence[ActionSchemaLink]
    """Every version of every kind, the current one of a kind first."""
