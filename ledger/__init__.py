"""The ledger: vocabulary, rules, signatures, the append-only store and the vaults."""
