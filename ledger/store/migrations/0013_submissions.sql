-- What other countries' nodes state that they handed in, and what became of it by this node's copy.

CREATE TABLE log.submissions (
    party        text        NOT NULL,
    action_id    uuid        NOT NULL,
    digest       text        NOT NULL,
    submitted_at timestamptz NOT NULL,
    statement    text        NOT NULL,
    received_at  timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (party, action_id)
);
COMMENT ON TABLE log.submissions IS
    'Signed statements of other countries'' nodes: an action waits for the ledger node since then.';
CREATE INDEX submissions_by_party ON log.submissions (party, received_at);
GRANT SELECT, INSERT, UPDATE, DELETE ON log.submissions TO case_ledger_app;
