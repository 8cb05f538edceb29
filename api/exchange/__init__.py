"""Exchange between nodes: the mirror, the outbox, parcels, duplicates, witnesses."""
