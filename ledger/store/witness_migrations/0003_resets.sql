-- A witness follows the policies that the parties adopted, by the operator's command: which log keys
-- count, and where a witness stands again that a leaked log key led astray.

CREATE TABLE {schema}.log_keys (
    origin text   NOT NULL,
    vkey   text   NOT NULL,
    since  bigint NOT NULL,
    PRIMARY KEY (origin, vkey)
);
COMMENT ON TABLE {schema}.log_keys IS
    'The log keys of the last applied policy. A log that stands here is believed by these alone.';
COMMENT ON COLUMN {schema}.log_keys.since IS 'The size from which on that policy holds.';

CREATE TABLE {schema}.resets (
    id        bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    reset_at  timestamptz NOT NULL DEFAULT now(),
    origin    text        NOT NULL,
    since     bigint      NOT NULL,
    from_size bigint      NOT NULL,
    from_root bytea       NOT NULL,
    from_note text        NOT NULL,
    to_size   bigint      NOT NULL,
    to_root   bytea       NOT NULL,
    to_note   text        NOT NULL
);
COMMENT ON TABLE {schema}.resets IS
    'The only rewinds of this witness: from a note by a log key that counts no more. Never changed.';

CREATE OR REPLACE FUNCTION {schema}.refuse_rewind() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.size < OLD.size OR (NEW.size = OLD.size AND NEW.root <> OLD.root) THEN
        IF NOT EXISTS (
            SELECT FROM {schema}.resets r
            WHERE r.origin = NEW.origin AND r.reset_at = now()
              AND r.from_size = OLD.size AND r.from_root = OLD.root
              AND r.to_size = NEW.size AND r.to_root = NEW.root
        ) THEN
            RAISE EXCEPTION 'a witness never goes back' USING ERRCODE = 'insufficient_privilege';
        END IF;
    END IF;
    RETURN NEW;
END
$$;

GRANT SELECT, INSERT, UPDATE, DELETE ON {schema}.log_keys TO {role};
GRANT SELECT, INSERT ON {schema}.resets TO {role};
