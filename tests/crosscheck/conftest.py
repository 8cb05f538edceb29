"""A served ledger, as the tests of the API have it."""

from tests.api.conftest import alone, served

__all__ = ["alone", "served"]
