"""Time travel: a case or the whole ledger as known then, and as valid then."""
