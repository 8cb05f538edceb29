"""Views of the ledger: pure folds of its events, kept in step and rebuilt at will."""
