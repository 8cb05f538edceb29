-- The consistency proof by which a refused checkpoint contradicts the held one, a hash a line.
-- It is empty where both have one size, and where the party's own copy of the events decides.
ALTER TABLE {schema}.evidence ADD COLUMN proof text NOT NULL DEFAULT '';
