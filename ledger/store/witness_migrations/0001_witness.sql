-- One party's witness: the last checkpoint that it cosigned of each log, and what it refused.
-- {schema} and {role} are this party's; no other role is granted anything.

CREATE SCHEMA IF NOT EXISTS {schema};

CREATE TABLE {schema}.cosigned (
    origin      text        NOT NULL PRIMARY KEY,
    origin_hash text        NOT NULL UNIQUE,
    size        bigint      NOT NULL CHECK (size >= 0),
    root        bytea       NOT NULL CHECK (octet_length(root) = 32),
    note        text        NOT NULL,
    cosigned_at timestamptz NOT NULL
);

-- Two signed notes that cannot both be true: what a party shows when a log misbehaves.
CREATE TABLE {schema}.evidence (
    received_at timestamptz NOT NULL,
    origin      text        NOT NULL,
    status      smallint    NOT NULL,
    held        text        NOT NULL,
    refused     text        NOT NULL
);

CREATE FUNCTION {schema}.refuse_rewind() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.size < OLD.size OR (NEW.size = OLD.size AND NEW.root <> OLD.root) THEN
        RAISE EXCEPTION 'a witness never goes back' USING ERRCODE = 'insufficient_privilege';
    END IF;
    RETURN NEW;
END
$$;
CREATE TRIGGER cosigned_never_rewinds BEFORE UPDATE ON {schema}.cosigned
    FOR EACH ROW EXECUTE FUNCTION {schema}.refuse_rewind();

REVOKE ALL ON SCHEMA {schema} FROM PUBLIC;
GRANT USAGE ON SCHEMA {schema} TO {role};
GRANT SELECT, INSERT, UPDATE ON {schema}.cosigned TO {role};
GRANT SELECT, INSERT ON {schema}.evidence TO {role};
