-- What this country sends other countries, until they acknowledged it; and how what they send stands.

CREATE TABLE {schema}.parcels_sent (
    seq             bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    id              uuid        NOT NULL UNIQUE,
    recipient       text        NOT NULL,
    kind            text        NOT NULL,
    about           uuid,
    release         uuid,
    state           text        NOT NULL CHECK (state IN
        ('due', 'sent', 'taken_in', 'erased', 'not_believed')),
    queued_at       timestamptz NOT NULL DEFAULT now(),
    due_at          timestamptz NOT NULL DEFAULT now(),
    sent_at         timestamptz,
    tries           integer     NOT NULL DEFAULT 0,
    digest          bytea       CHECK (octet_length(digest) = 32),
    reason          text,
    acknowledgement text,
    settled_at      timestamptz,
    CHECK ((state IN ('due', 'sent')) = (settled_at IS NULL))
);
COMMENT ON TABLE {schema}.parcels_sent IS
    'Names what is sent, never holds it: each sending is made anew of what the vault holds then.';
COMMENT ON COLUMN {schema}.parcels_sent.about IS
    'The action whose fields are sent, or what a message is about.';
COMMENT ON COLUMN {schema}.parcels_sent.digest IS 'SHA-256 of the parcel as it was sent last.';
COMMENT ON COLUMN {schema}.parcels_sent.reason IS 'Why it is sent again, or was not believed.';
CREATE INDEX parcels_due ON {schema}.parcels_sent (recipient, due_at, seq) WHERE state = 'due';
CREATE INDEX parcels_unacknowledged ON {schema}.parcels_sent (recipient, seq) INCLUDE (queued_at)
    WHERE settled_at IS NULL;
CREATE INDEX parcels_unanswered ON {schema}.parcels_sent (seq) WHERE state = 'sent';
CREATE INDEX parcels_settled ON {schema}.parcels_sent (settled_at) WHERE settled_at IS NOT NULL;
CREATE INDEX parcels_about ON {schema}.parcels_sent (about);
GRANT SELECT, INSERT, UPDATE, DELETE ON {schema}.parcels_sent TO {role};

CREATE TABLE {schema}.parcels_waiting (
    sender    text        NOT NULL PRIMARY KEY,
    parcels   bigint      NOT NULL,
    oldest_at timestamptz NOT NULL
);
COMMENT ON TABLE {schema}.parcels_waiting IS
    'What waited for this country at the ledger node''s mailbox when it was asked last.';
GRANT SELECT, INSERT, UPDATE, DELETE ON {schema}.parcels_waiting TO {role};

CREATE TABLE {schema}.parcels_refused (
    sender  text        NOT NULL,
    reason  text        NOT NULL,
    parcels bigint      NOT NULL,
    last_at timestamptz NOT NULL,
    PRIMARY KEY (sender, reason)
);
COMMENT ON TABLE {schema}.parcels_refused IS
    'How many parcels of a country were acknowledged as damaged or not believed.';
GRANT SELECT, INSERT, UPDATE ON {schema}.parcels_refused TO {role};
