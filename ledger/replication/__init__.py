"""Copies of the ledger: mirror, outbox, mailbox, failover, and the way back."""
