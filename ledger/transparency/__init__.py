"""Transparency-log formats (C2SP): signed notes, checkpoints, tiles, witnesses, proofs."""
