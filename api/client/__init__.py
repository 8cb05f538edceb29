"""A typed client of the HTTP API, and the documents that the API answers with."""

from api.client.actions import Answered
from api.client.client import LedgerClient
from api.client.errors import RefusedError, WaitingError

__all__ = ["Answered", "LedgerClient", "RefusedError", "WaitingError"]
