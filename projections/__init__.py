"""Views folded from the ledger's events: case views and audit trails."""
