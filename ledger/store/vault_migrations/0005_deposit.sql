-- Deposits in one round trip: wait for whoever erases one of these persons, see whom they erased,
-- store what belongs to the others. Each statement in here sees what was committed before it began,
-- so that an erasure which was waited for is seen.
-- Gives the persons who were erased.

CREATE FUNCTION {schema}.deposit(
    of_cases uuid[], actions uuid[], deposits uuid[], digests text[], cases uuid[], fields text[],
    levels text[], groups text[], senders text[], content bytea[], durably boolean
) RETURNS uuid[] LANGUAGE plpgsql AS $$
DECLARE
    gone uuid[];
BEGIN
    IF NOT durably THEN
        PERFORM set_config('synchronous_commit', 'off', true);
    END IF;
    -- In the order that they are given: the same for everyone.
    PERFORM pg_advisory_xact_lock_shared(hashtextextended(id::text, 0))
        FROM unnest(of_cases) AS t (id);
    gone := ARRAY(SELECT case_id FROM {schema}.erased WHERE case_id = ANY (of_cases));
    INSERT INTO {schema}.disclosures (action_id, deposit_id, digest, case_id, field, level,
        field_group, received_from, sealed)
    SELECT * FROM unnest(actions, deposits, digests, cases, fields, levels, groups, senders, content)
        AS t (action_id, deposit_id, digest, case_id, field, level, field_group, received_from, sealed)
    WHERE t.case_id <> ALL (gone)
    ON CONFLICT DO NOTHING;
    RETURN gone;
END
$$;
COMMENT ON FUNCTION {schema}.deposit IS
    'With durably false, the commit does not wait for the disk: the caller commits something after it.';

REVOKE ALL ON FUNCTION {schema}.deposit FROM PUBLIC;
GRANT EXECUTE ON FUNCTION {schema}.deposit TO {role};
