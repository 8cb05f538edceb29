-- A duplicate is in question once what a person is called was stated anew, or annulled, in one of its
-- cases. It stays only if both cases still agree. One that another country has is kept as withdrawn
-- until that country was told, and longer, so that the message can be sent again.

ALTER TABLE {schema}.duplicates
    ADD COLUMN in_question boolean NOT NULL DEFAULT false,
    ADD COLUMN withdrawn boolean NOT NULL DEFAULT false;
CREATE INDEX duplicates_in_question ON {schema}.duplicates (other) WHERE in_question;
