-- What the process that does a node's background work says of it, for those that answer requests.
-- One row; unlogged, for after a crash it is said anew.

CREATE SCHEMA node;

CREATE UNLOGGED TABLE node.work (
    is_only boolean     PRIMARY KEY DEFAULT true CHECK (is_only),
    said    jsonb       NOT NULL,
    said_at timestamptz NOT NULL
);

REVOKE ALL ON SCHEMA node FROM PUBLIC;
GRANT USAGE ON SCHEMA node TO case_ledger_app;
GRANT SELECT, INSERT, UPDATE ON node.work TO case_ledger_app;
