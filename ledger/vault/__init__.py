"""A country's vault: disclosures, each person's under a key of their own, and these keys."""
