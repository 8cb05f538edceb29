"""Pure folds: the state of a case, a trail and an obligation after each event."""
