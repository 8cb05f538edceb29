"""Formats of a transparency log (RFC 6962, C2SP): trees, notes, checkpoints, policies, proofs."""
