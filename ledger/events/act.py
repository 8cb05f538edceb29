"""One recorded action, as folds and rules see it."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID


@dataclass(frozen=True, slots=True)
class Act:
    """One recorded action, as the fold sees it."""

    id: UUID
    kind: str
    case_id: UUID
    version: int
    position: int
    agency: str
    acted_at: datetime
    recorded_at: datetime
    fields: Mapping[str, Any]
    key_id: str
    digests: frozenset[str]
    """Of its disclosures and decoys, as signed."""
