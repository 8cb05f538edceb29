"""The ledger as a directory of static files that stands alone."""
