"""A served ledger, as the tests of the API have it."""

from tests.api.conftest import served

__all__ = ["served"]
