"""The practice ledger: the same pages on invented people, with exercises that check themselves."""
