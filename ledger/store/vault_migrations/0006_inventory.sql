-- An inventory of what was deposited, so that a disclosure that is deleted, changed or exchanged is
-- found and named. Each entry is authenticated under the person's data key, which is not in this
-- database.

CREATE TABLE {schema}.deposits (
    action_id     uuid        NOT NULL,
    deposit_id    uuid        NOT NULL,
    case_id       uuid        NOT NULL,
    received_from text,
    received_at   timestamptz NOT NULL DEFAULT now(),
    digests       text[]      NOT NULL,
    fields        text[]      NOT NULL,
    macs          bytea[]     NOT NULL,
    mac           bytea       NOT NULL,
    PRIMARY KEY (action_id, deposit_id),
    CHECK (cardinality(fields) = cardinality(digests))
);
COMMENT ON COLUMN {schema}.deposits.macs IS
    'HMAC-SHA-256 of each disclosure''s row; empty for deposits from before this table.';
COMMENT ON COLUMN {schema}.deposits.mac IS 'HMAC-SHA-256 of the list of digests.';
CREATE INDEX deposits_by_case ON {schema}.deposits (case_id);

INSERT INTO {schema}.deposits
SELECT action_id, deposit_id, min(case_id::text)::uuid, min(received_from), min(received_at),
    array_agg(digest ORDER BY digest), array_agg(field ORDER BY digest), '{{}}', ''
FROM {schema}.disclosures GROUP BY action_id, deposit_id;

-- From now on, none comes in without.
DO $$
BEGIN
    EXECUTE format('ALTER TABLE {schema}.deposits ADD CONSTRAINT deposits_are_authenticated CHECK'
        ' (octet_length(mac) = 32 AND cardinality(macs) = cardinality(digests)'
        ' OR received_at < %L)', now());
END
$$;

GRANT SELECT, INSERT, DELETE ON {schema}.deposits TO {role};

-- What the keeper compares with the inventory: of what is sealed, the hash alone.
CREATE VIEW {schema}.held WITH (security_barrier) AS
SELECT action_id, deposit_id, digest, case_id, field, level, field_group, received_from,
    received_at, sha256(sealed) AS sealed_hash
FROM {schema}.disclosures;
GRANT SELECT ON {schema}.held TO {role};

DROP FUNCTION {schema}.deposit;
CREATE FUNCTION {schema}.deposit(
    of_cases uuid[], actions uuid[], deposits uuid[], digests text[], cases uuid[], fields text[],
    levels text[], groups text[], senders text[], content bytea[], row_macs bytea[],
    list_macs bytea[], durably boolean
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
    INSERT INTO {schema}.deposits (action_id, deposit_id, case_id, received_from, digests, fields,
        macs, mac)
    SELECT t.action_id, t.deposit_id, t.case_id, t.received_from, array_agg(t.digest ORDER BY digest),
        array_agg(t.field ORDER BY digest), array_agg(t.row_mac ORDER BY digest), t.list_mac
    FROM unnest(actions, deposits, cases, senders, digests, fields, row_macs, list_macs)
        AS t (action_id, deposit_id, case_id, received_from, digest, field, row_mac, list_mac)
    WHERE t.case_id <> ALL (gone)
    GROUP BY t.action_id, t.deposit_id, t.case_id, t.received_from, t.list_mac
    ON CONFLICT DO NOTHING;
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

-- How many entries the access log has, kept apart from it: an entry that is deleted at its end is
-- missed too.
INSERT INTO {schema}.progress (work, position)
SELECT 'readings', count(*) FROM {schema}.readings;
