-- The annulled actions whose disclosures two persons had destroyed. Nothing of them comes in again.

CREATE TABLE {schema}.destroyed (
    action_id    uuid        NOT NULL PRIMARY KEY,
    case_id      uuid        NOT NULL,
    order_id     uuid        NOT NULL,
    destroyed_at timestamptz NOT NULL DEFAULT now(),
    confirmed_at timestamptz
);
COMMENT ON COLUMN {schema}.destroyed.order_id IS 'The action by which the second person approved.';
CREATE INDEX destroyed_unconfirmed ON {schema}.destroyed (action_id) WHERE confirmed_at IS NULL;
CREATE INDEX destroyed_by_case ON {schema}.destroyed (case_id);
GRANT SELECT, INSERT ON {schema}.destroyed TO {role};
GRANT UPDATE (confirmed_at) ON {schema}.destroyed TO {role};

DROP FUNCTION {schema}.deposit;
CREATE FUNCTION {schema}.deposit(
    of_cases uuid[], actions uuid[], deposits uuid[], cases uuid[], senders text[],
    wholes boolean[], list_macs bytea[], key_ids bytea[], row_actions uuid[], row_deposits uuid[],
    digests text[], fields text[], levels text[], groups text[], content bytea[], row_macs bytea[],
    durably boolean, OUT erased uuid[], OUT stale uuid[], OUT destroyed uuid[]
) LANGUAGE plpgsql AS $$
BEGIN
    IF NOT durably THEN
        PERFORM set_config('synchronous_commit', 'off', true);
    END IF;
    -- In the order that they are given: the same for everyone.
    PERFORM pg_advisory_xact_lock_shared(hashtextextended(id::text, 0))
        FROM unnest(of_cases) AS t (id);
    erased := ARRAY(SELECT e.case_id FROM {schema}.erased e WHERE e.case_id = ANY (of_cases));
    destroyed := ARRAY(
        SELECT t.deposit_id FROM unnest(actions, deposits) AS t (action_id, deposit_id)
        JOIN {schema}.destroyed d ON d.action_id = t.action_id);
    stale := ARRAY(
        SELECT DISTINCT t.deposit_id FROM unnest(deposits, cases, key_ids)
            AS t (deposit_id, case_id, key_id)
        JOIN {schema}.replaced_keys r ON r.case_id = t.case_id AND r.key_id = t.key_id);
    INSERT INTO {schema}.deposits (action_id, deposit_id, case_id, received_from, whole, digests,
        fields, macs, mac)
    SELECT d.action_id, d.deposit_id, d.case_id, d.received_from, d.whole,
        coalesce(array_agg(r.digest ORDER BY r.digest) FILTER (WHERE r.digest IS NOT NULL), '{{}}'),
        coalesce(array_agg(r.field ORDER BY r.digest) FILTER (WHERE r.digest IS NOT NULL), '{{}}'),
        coalesce(array_agg(r.mac ORDER BY r.digest) FILTER (WHERE r.digest IS NOT NULL), '{{}}'),
        d.list_mac
    FROM unnest(actions, deposits, cases, senders, wholes, list_macs)
        AS d (action_id, deposit_id, case_id, received_from, whole, list_mac)
    LEFT JOIN unnest(row_actions, row_deposits, digests, fields, row_macs)
        AS r (action_id, deposit_id, digest, field, mac) USING (action_id, deposit_id)
    WHERE d.case_id <> ALL (erased) AND d.deposit_id <> ALL (stale)
        AND d.deposit_id <> ALL (destroyed)
    GROUP BY d.action_id, d.deposit_id, d.case_id, d.received_from, d.whole, d.list_mac
    ON CONFLICT DO NOTHING;
    INSERT INTO {schema}.disclosures (action_id, deposit_id, digest, case_id, field, level,
        field_group, received_from, sealed)
    SELECT r.action_id, r.deposit_id, r.digest, d.case_id, r.field, r.level, r.field_group,
        d.received_from, r.sealed
    FROM unnest(actions, deposits, cases, senders)
        AS d (action_id, deposit_id, case_id, received_from)
    JOIN unnest(row_actions, row_deposits, digests, fields, levels, groups, content)
        AS r (action_id, deposit_id, digest, field, level, field_group, sealed)
        USING (action_id, deposit_id)
    WHERE d.case_id <> ALL (erased) AND d.deposit_id <> ALL (stale)
        AND d.deposit_id <> ALL (destroyed)
    ON CONFLICT DO NOTHING;
END
$$;
COMMENT ON FUNCTION {schema}.deposit IS
    'With durably false, the commit does not wait for the disk: the caller commits something after it.';
REVOKE ALL ON FUNCTION {schema}.deposit FROM PUBLIC;
GRANT EXECUTE ON FUNCTION {schema}.deposit TO {role};
