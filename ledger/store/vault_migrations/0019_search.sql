-- The search index: keyed tokens of names, identity numbers and telephone numbers, by which a country
-- finds persons in its own vault. A row goes with the disclosure that it belongs to.

CREATE TABLE {schema}.search_index (
    action_id  uuid     NOT NULL,
    digest     text     NOT NULL,
    deposit_id uuid     NOT NULL,
    case_id    uuid     NOT NULL,
    field      text     NOT NULL,
    key_id     bytea    NOT NULL,
    tokens     bigint[] NOT NULL,
    PRIMARY KEY (action_id, digest, deposit_id),
    FOREIGN KEY (action_id, digest, deposit_id) REFERENCES {schema}.disclosures
        ON UPDATE CASCADE ON DELETE CASCADE
);
COMMENT ON COLUMN {schema}.search_index.tokens IS
    'HMAC-SHA256, eight bytes each, under a secret that is not in this database.';
CREATE INDEX search_index_tokens ON {schema}.search_index USING gin (tokens)
    WITH (gin_pending_list_limit = 256);

-- Cases with statements that have no tokens yet.
CREATE TABLE {schema}.search_due (
    id      bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    case_id uuid   NOT NULL
);
INSERT INTO {schema}.search_due (case_id)
SELECT DISTINCT case_id FROM {schema}.disclosures WHERE level = 'personal'
    AND field IN ('first_name', 'middle_name', 'second_name', 'identity_number', 'phone');

-- A deposit that brings its tokens says so for its transaction. All others are due.
CREATE FUNCTION {schema}.note_search_due() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF coalesce(current_setting('case_ledger.search', true), '') <> 'given' THEN
        INSERT INTO {schema}.search_due (case_id)
        SELECT DISTINCT case_id FROM added WHERE level = 'personal'
            AND field IN ('first_name', 'middle_name', 'second_name', 'identity_number', 'phone');
    END IF;
    RETURN NULL;
END
$$;
REVOKE ALL ON FUNCTION {schema}.note_search_due FROM PUBLIC;
CREATE TRIGGER search_due AFTER INSERT ON {schema}.disclosures
    REFERENCING NEW TABLE AS added FOR EACH STATEMENT EXECUTE FUNCTION {schema}.note_search_due();

CREATE FUNCTION {schema}.deposit_with_tokens(
    of_cases uuid[], actions uuid[], deposits uuid[], cases uuid[], senders text[],
    wholes boolean[], list_macs bytea[], key_ids bytea[], row_actions uuid[], row_deposits uuid[],
    digests text[], fields text[], levels text[], groups text[], content bytea[], row_macs bytea[],
    durably boolean, search_key bytea, row_tokens text[],
    OUT erased uuid[], OUT stale uuid[], OUT destroyed uuid[]
) LANGUAGE plpgsql AS $$
BEGIN
    PERFORM set_config('case_ledger.search', 'given', true);
    SELECT d.* INTO erased, stale, destroyed FROM {schema}.deposit(of_cases, actions, deposits, cases,
        senders, wholes, list_macs, key_ids, row_actions, row_deposits, digests, fields, levels, groups,
        content, row_macs, durably) AS d;
    INSERT INTO {schema}.search_index (action_id, digest, deposit_id, case_id, field, key_id, tokens)
    SELECT d.action_id, d.digest, d.deposit_id, d.case_id, d.field, search_key, t.tokens::bigint[]
    FROM unnest(row_actions, row_deposits, digests, row_tokens)
        AS t (action_id, deposit_id, digest, tokens)
    JOIN {schema}.disclosures d USING (action_id, digest, deposit_id)
    WHERE t.tokens IS NOT NULL
    ON CONFLICT DO NOTHING;
    PERFORM set_config('case_ledger.search', '', true);
END
$$;
REVOKE ALL ON FUNCTION {schema}.deposit_with_tokens FROM PUBLIC;
GRANT EXECUTE ON FUNCTION {schema}.deposit_with_tokens TO {role};

GRANT SELECT, INSERT, DELETE ON {schema}.search_index, {schema}.search_due TO {role};
GRANT UPDATE (key_id, tokens) ON {schema}.search_index TO {role};

-- The node itself opens these fields alone, to make tokens that are missing, and shows them to nobody.
CREATE POLICY indexed_fields ON {schema}.disclosures FOR SELECT TO {reader} USING (
    level = 'personal'
    AND field IN ('first_name', 'middle_name', 'second_name', 'identity_number', 'phone')
    AND EXISTS (
        SELECT FROM {schema}.readings r
        WHERE r.seq = nullif(current_setting('case_ledger.reading', true), '')::bigint
            AND r.granted AND r.operation = 'index' AND r.agency_role = 'node'
            AND r.case_id = disclosures.case_id
            AND r.recorded_at > now() - interval '1 minute'
            AND disclosures.field_group = ANY (r.groups)
    )
);

-- How many searches an agency's people and systems made within a day.
CREATE INDEX readings_searches ON {schema}.readings (agency, recorded_at) WHERE operation = 'search';
