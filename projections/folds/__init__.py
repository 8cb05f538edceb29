"""Pure folds: what a case, a trail and an obligation are after each event."""
