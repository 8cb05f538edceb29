-- Deposits of the vault's own country that are committed in the transaction of their events: both, or
-- neither. Disclosures stand in the order of their deposits, and in each by digest; those of a deposit
-- are at firsts to lasts, and places has the place of each one's deposit.

CREATE FUNCTION {schema}.deposit_beside_event(
    of_cases uuid[], actions uuid[], deposits uuid[], cases uuid[], list_macs bytea[],
    key_ids bytea[], firsts bigint[], lasts bigint[], places bigint[], digests text[], fields text[],
    levels text[], groups text[], content bytea[], row_macs bytea[], search_due boolean,
    search_key bytea, row_tokens text[]
) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    -- In the order that they are given: the same for everyone.
    PERFORM pg_advisory_xact_lock_shared(hashtextextended(id::text, 0))
        FROM unnest(of_cases) AS t (id);
    IF EXISTS (SELECT FROM {schema}.erased e WHERE e.case_id = ANY (of_cases))
        OR EXISTS (SELECT FROM {schema}.destroyed d WHERE d.action_id = ANY (actions))
        OR EXISTS (SELECT FROM unnest(cases, key_ids) AS t (case_id, key_id)
            JOIN {schema}.replaced_keys r ON r.case_id = t.case_id AND r.key_id = t.key_id)
    THEN
        RAISE EXCEPTION 'a deposit is not taken in';
    END IF;
    INSERT INTO {schema}.deposits (action_id, deposit_id, case_id, received_from, whole, digests,
        fields, macs, mac)
    SELECT d.action_id, d.deposit_id, d.case_id, NULL, true, digests[d.first:d.last],
        fields[d.first:d.last], row_macs[d.first:d.last], d.list_mac
    FROM unnest(actions, deposits, cases, list_macs, firsts, lasts)
        AS d (action_id, deposit_id, case_id, list_mac, first, last)
    ON CONFLICT DO NOTHING;
    IF cardinality(places) = 0 THEN
        RETURN;
    END IF;
    IF NOT search_due THEN
        PERFORM set_config('case_ledger.search', 'given', true);
    END IF;
    INSERT INTO {schema}.disclosures (action_id, deposit_id, digest, case_id, field, level,
        field_group, received_from, sealed)
    SELECT actions[r.place], deposits[r.place], r.digest, cases[r.place], r.field, r.level,
        r.field_group, NULL, r.sealed
    FROM unnest(places, digests, fields, levels, groups, content)
        AS r (place, digest, field, level, field_group, sealed)
    ON CONFLICT DO NOTHING;
    IF search_key IS NOT NULL THEN
        INSERT INTO {schema}.search_index (action_id, digest, deposit_id, case_id, field, key_id,
            tokens)
        SELECT actions[r.place], r.digest, deposits[r.place], cases[r.place], r.field, search_key,
            r.tokens::bigint[]
        FROM unnest(places, digests, fields, row_tokens) AS r (place, digest, field, tokens)
        WHERE r.tokens IS NOT NULL
        ON CONFLICT DO NOTHING;
    END IF;
    IF NOT search_due THEN
        PERFORM set_config('case_ledger.search', '', true);
    END IF;
END
$$;
COMMENT ON FUNCTION {schema}.deposit_beside_event IS
    'Fails where a deposit is not taken in, so that no event is recorded without it.';
REVOKE ALL ON FUNCTION {schema}.deposit_beside_event FROM PUBLIC;
GRANT EXECUTE ON FUNCTION {schema}.deposit_beside_event TO {role};
