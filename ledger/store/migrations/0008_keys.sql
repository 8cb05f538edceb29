-- Which policy the settings of this node named, and which keys of its own it has used. A key that
-- stands here and whose file is missing is lost: no new one is made in its place.

CREATE TABLE log.trusted_policies (
    policy     text        NOT NULL PRIMARY KEY,
    first_seen timestamptz NOT NULL
);
GRANT SELECT, INSERT ON log.trusted_policies TO case_ledger_app;

CREATE TABLE log.own_keys (
    name       text        NOT NULL,
    key_id     text        NOT NULL,
    first_seen timestamptz NOT NULL,
    PRIMARY KEY (name, key_id)
);
COMMENT ON COLUMN log.own_keys.name IS 'The file''s name without its ending, such as country-xk.';
GRANT SELECT, INSERT ON log.own_keys TO case_ledger_app;
