"""Upkeep of the views: following the ledger, rebuilding, checking."""
