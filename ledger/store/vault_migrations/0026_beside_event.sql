-- A deposit that is committed in the transaction of its event: both, or neither.

CREATE FUNCTION {schema}.deposit_beside_event(
    of_cases uuid[], actions uuid[], deposits uuid[], cases uuid[], senders text[],
    wholes boolean[], list_macs bytea[], key_ids bytea[], row_actions uuid[], row_deposits uuid[],
    digests text[], fields text[], levels text[], groups text[], content bytea[], row_macs bytea[],
    search_key bytea, row_tokens text[]
) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    refused record;
BEGIN
    IF search_key IS NULL THEN
        SELECT d.* INTO refused FROM {schema}.deposit(of_cases, actions, deposits, cases, senders,
            wholes, list_macs, key_ids, row_actions, row_deposits, digests, fields, levels, groups,
            content, row_macs, true) AS d;
    ELSE
        SELECT d.* INTO refused FROM {schema}.deposit_with_tokens(of_cases, actions, deposits,
            cases, senders, wholes, list_macs, key_ids, row_actions, row_deposits, digests, fields,
            levels, groups, content, row_macs, true, search_key, row_tokens) AS d;
    END IF;
    IF cardinality(refused.erased || refused.stale || refused.destroyed) > 0 THEN
        RAISE EXCEPTION 'a deposit is not taken in';
    END IF;
END
$$;
COMMENT ON FUNCTION {schema}.deposit_beside_event IS
    'Fails where a deposit is not taken in, so that no event is recorded without it.';
REVOKE ALL ON FUNCTION {schema}.deposit_beside_event FROM PUBLIC;
GRANT EXECUTE ON FUNCTION {schema}.deposit_beside_event TO {role};
