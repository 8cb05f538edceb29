"""A typed client of the HTTP API, and the documents that the API answers with."""

from api.client.client import Answered, LedgerClient, RefusedError, WaitingError

__all__ = ["Answered", "LedgerClient", "RefusedError", "WaitingError"]
