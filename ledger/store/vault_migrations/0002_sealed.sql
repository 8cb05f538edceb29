-- Disclosures are encrypted, each person's with a key of their own that is not in this database.
-- Rows of before are encrypted by the first process that has the keys; it empties `disclosure`.

ALTER TABLE {schema}.disclosures
    ADD COLUMN sealed bytea,
    ALTER COLUMN disclosure DROP NOT NULL,
    ADD CONSTRAINT disclosures_sealed_or_not_yet CHECK (num_nonnulls(sealed, disclosure) = 1);
COMMENT ON COLUMN {schema}.disclosures.sealed IS
    'Nonce and AES-256-GCM of the disclosure, bound to case, action, digest and field.';
CREATE INDEX disclosures_not_yet_sealed ON {schema}.disclosures (received_at)
    WHERE disclosure IS NOT NULL;

GRANT UPDATE (sealed, disclosure) ON {schema}.disclosures TO {role};
