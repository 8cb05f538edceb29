-- What agencies are to be told, or were told, of what they owe: durable, so that a notice is sent
-- at least once. Its id stays the same however often it is sent, so that a repeat can be dropped.

CREATE SCHEMA notifications;

CREATE TABLE notifications.outbox (
    id              uuid        PRIMARY KEY,
    subscription    uuid        NOT NULL,
    obligation_id   uuid        NOT NULL,
    due             timestamptz NOT NULL,
    message         jsonb       NOT NULL,
    created_at      timestamptz NOT NULL DEFAULT now(),
    next_attempt_at timestamptz NOT NULL DEFAULT now(),
    attempts        integer     NOT NULL DEFAULT 0 CHECK (attempts >= 0),
    sent_at         timestamptz
);
COMMENT ON COLUMN notifications.outbox.subscription IS
    'A digest of agency and address: neither address nor secret is in the database.';
COMMENT ON COLUMN notifications.outbox.next_attempt_at IS
    'Put off before a notice is sent: should the sender die, it is sent again then.';
CREATE INDEX outbox_waiting ON notifications.outbox (next_attempt_at) WHERE sent_at IS NULL;
CREATE INDEX outbox_sent ON notifications.outbox (sent_at);

REVOKE ALL ON SCHEMA notifications FROM PUBLIC;
GRANT USAGE ON SCHEMA notifications TO case_ledger_app;
GRANT SELECT, INSERT, DELETE, UPDATE (next_attempt_at, attempts, sent_at)
    ON notifications.outbox TO case_ledger_app;
