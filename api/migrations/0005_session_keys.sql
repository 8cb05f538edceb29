-- A person may sign in with the agency's key in their browser. Such a session ends with the key.

ALTER TABLE access.sessions ADD COLUMN key_id text CHECK (length(key_id) = 43);
