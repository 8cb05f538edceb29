-- name: time_to_return
-- version: 2
-- Whole days from a person's formal identification to their reception after the return.
WITH annulled AS (
    SELECT case_id, corrects AS action_id FROM correction WHERE effect = 'annulled'
), identified AS (
    SELECT v.case_id, min(v.acted_at) AS identified_at
    FROM victim_identified v
    WHERE NOT EXISTS (
        SELECT 1 FROM annulled a WHERE a.case_id = v.case_id AND a.action_id = v.action_id)
    GROUP BY v.case_id
), returned AS (
    SELECT r.case_id, max(r.acted_at) AS received_at, max(r.party) AS destination
    FROM received r
    WHERE NOT EXISTS (
        SELECT 1 FROM annulled a WHERE a.case_id = r.case_id AND a.action_id = r.action_id)
    GROUP BY r.case_id
), merged AS (
    SELECT m.case_id FROM case_merged m
    WHERE NOT EXISTS (
        SELECT 1 FROM merge_undone u WHERE u.case_id = m.case_id AND u.merge = m.action_id)
), taken AS (
    SELECT o.party AS home, r.destination,
        CAST(floor((unix_timestamp(r.received_at) - unix_timestamp(i.identified_at)) / 86400)
            AS BIGINT) AS days
    FROM case_opened o
    JOIN identified i ON i.case_id = o.case_id
    JOIN returned r ON r.case_id = o.case_id
    WHERE NOT EXISTS (SELECT 1 FROM merged m WHERE m.case_id = o.case_id)
)
SELECT home, destination, count(*) AS cases, min(days) AS shortest,
    CAST(percentile_disc(0.5) WITHIN GROUP (ORDER BY days) AS BIGINT) AS median,
    max(days) AS longest
FROM taken
GROUP BY home, destination
ORDER BY home, destination
