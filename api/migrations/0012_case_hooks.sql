-- Webhooks for what happens in cases: how far each has followed the ledger. No message is stored: each is made when
-- it is sent, of what the agency sees then.

CREATE TABLE notifications.case_hooks (
    subscription    uuid        PRIMARY KEY,
    agency          text        NOT NULL,
    position        bigint      NOT NULL CHECK (position >= 0),
    attempts        integer     NOT NULL DEFAULT 0 CHECK (attempts >= 0),
    next_attempt_at timestamptz NOT NULL DEFAULT now(),
    failing_since   timestamptz,
    disabled_at     timestamptz
);
COMMENT ON COLUMN notifications.case_hooks.subscription IS
    'A digest of agency and address: neither address nor secret is in the database.';
COMMENT ON COLUMN notifications.case_hooks.position IS
    'Everything up to this position of the ledger was received. A smaller one sends it again.';
GRANT SELECT, INSERT, DELETE, UPDATE (position, attempts, next_attempt_at, failing_since, disabled_at)
    ON notifications.case_hooks TO case_ledger_app;
