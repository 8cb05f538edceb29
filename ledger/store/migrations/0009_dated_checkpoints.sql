-- Published checkpoints kept for the times of their cosignatures, about one an hour. A checkpoint
-- of the same size may stand here several times, cosigned again later. Nothing here is changed.

CREATE TABLE log.dated_checkpoints (
    id      bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    size    bigint      NOT NULL CHECK (size > 0),
    note    text        NOT NULL,
    kept_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX dated_checkpoints_size ON log.dated_checkpoints (size, id);
COMMENT ON COLUMN log.dated_checkpoints.id IS
    'The order in which this node saw the checkpoints, whatever their times say.';

GRANT SELECT, INSERT ON log.dated_checkpoints TO case_ledger_app;
