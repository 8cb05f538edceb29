"""Continuity: whether this node's database and keys are the ones that it had."""
