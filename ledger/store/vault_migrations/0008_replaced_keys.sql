-- Data keys that were replaced. Nothing comes in under one of them any more: a deposit that was sealed
-- before the replacement, and would be stored after it, is refused and sealed again.
-- The owner alone writes here, and seals the rows again: no role of the node reads what is sealed
-- without an entry in the access log.

CREATE TABLE {schema}.replaced_keys (
    case_id     uuid        NOT NULL,
    key_id      bytea       NOT NULL CHECK (octet_length(key_id) = 32),
    replaced_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (case_id, key_id)
);
COMMENT ON COLUMN {schema}.replaced_keys.key_id IS
    'HMAC-SHA-256 under the data key of a fixed text: it tells keys apart, and tells nothing of them.';
GRANT SELECT ON {schema}.replaced_keys TO {role};

DROP FUNCTION {schema}.deposit;
CREATE FUNCTION {schema}.deposit(
    of_cases uuid[], actions uuid[], deposits uuid[], digests text[], cases uuid[], fields text[],
    levels text[], groups text[], senders text[], content bytea[], row_macs bytea[],
    list_macs bytea[], key_ids bytea[], durably boolean, OUT erased uuid[], OUT stale uuid[]
) LANGUAGE plpgsql AS $$
BEGIN
    IF NOT durably THEN
        PERFORM set_config('synchronous_commit', 'off', true);
    END IF;
    -- In the order that they are given: the same for everyone.
    PERFORM pg_advisory_xact_lock_shared(hashtextextended(id::text, 0))
        FROM unnest(of_cases) AS t (id);
    erased := ARRAY(SELECT e.case_id FROM {schema}.erased e WHERE e.case_id = ANY (of_cases));
    stale := ARRAY(
        SELECT DISTINCT t.deposit_id FROM unnest(deposits, cases, key_ids)
            AS t (deposit_id, case_id, key_id)
        JOIN {schema}.replaced_keys r ON r.case_id = t.case_id AND r.key_id = t.key_id);
    INSERT INTO {schema}.deposits (action_id, deposit_id, case_id, received_from, digests, fields,
        macs, mac)
    SELECT t.action_id, t.deposit_id, t.case_id, t.received_from, array_agg(t.digest ORDER BY digest),
        array_agg(t.field ORDER BY digest), array_agg(t.row_mac ORDER BY digest), t.list_mac
    FROM unnest(actions, deposits, cases, senders, digests, fields, row_macs, list_macs)
        AS t (action_id, deposit_id, case_id, received_from, digest, field, row_mac, list_mac)
    WHERE t.case_id <> ALL (erased) AND t.deposit_id <> ALL (stale)
    GROUP BY t.action_id, t.deposit_id, t.case_id, t.received_from, t.list_mac
    ON CONFLICT DO NOTHING;
    INSERT INTO {schema}.disclosures (action_id, deposit_id, digest, case_id, field, level,
        field_group, received_from, sealed)
    SELECT * FROM unnest(actions, deposits, digests, cases, fields, levels, groups, senders, content)
        AS t (action_id, deposit_id, digest, case_id, field, level, field_group, received_from, sealed)
    WHERE t.case_id <> ALL (erased) AND t.deposit_id <> ALL (stale)
    ON CONFLICT DO NOTHING;
END
$$;
COMMENT ON FUNCTION {schema}.deposit IS
    'With durably false, the commit does not wait for the disk: the caller commits something after it.';
REVOKE ALL ON FUNCTION {schema}.deposit FROM PUBLIC;
GRANT EXECUTE ON FUNCTION {schema}.deposit TO {role};
