-- A signed action without its disclosures may end in the approval of a second member, a JWT. A disclosure is no JWT:
-- it has no dots.

ALTER TABLE outbox.actions DROP CONSTRAINT actions_sd_jwt_check;
ALTER TABLE outbox.actions ADD CONSTRAINT actions_sd_jwt_check
    CHECK (sd_jwt ~ '^[^~]+~([^~.]+[.][^~.]+[.][^~.]+)?$');
ALTER TABLE log.false_decisions DROP CONSTRAINT false_decisions_sd_jwt_check;
ALTER TABLE log.false_decisions ADD CONSTRAINT false_decisions_sd_jwt_check
    CHECK (sd_jwt ~ '^[^~]+~([^~.]+[.][^~.]+[.][^~.]+)?$');
