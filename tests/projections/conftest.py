"""Databases for the tests of views, which fold the whole ledger themselves."""

import pytest


@pytest.fixture(scope="session")
def begun(unfolded: str) -> str:
    """A database to copy whose views are empty, in place of the one with all in its views."""
    return unfolded
