-- What the log signed of events that this node's program cannot read yet. The events themselves are
-- copied once the program is updated. Then they must be the ones whose hashes stand here.

CREATE TABLE log.unread_leaves (
    position  bigint NOT NULL PRIMARY KEY CHECK (position > 0),
    leaf_hash bytea  NOT NULL CHECK (octet_length(leaf_hash) = 32)
);
COMMENT ON TABLE log.unread_leaves IS
    'The leaf hash of each event after the copy that the log signed. A row goes once its event is copied.';

CREATE TABLE log.unread_signed (
    size      bigint      NOT NULL PRIMARY KEY CHECK (size > 0),
    root      bytea       NOT NULL CHECK (octet_length(root) = 32),
    note      text        NOT NULL,
    signed_at timestamptz NOT NULL
);
COMMENT ON TABLE log.unread_signed IS
    'The checkpoints of such events that the log signed. They move to log.signed with the events.';

GRANT SELECT, INSERT, DELETE ON log.unread_leaves, log.unread_signed TO case_ledger_app;
