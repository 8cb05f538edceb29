-- name: time_to_return
-- version: 3
-- Whole days from a person's formal identification to their reception after the return.
WITH returned AS (
    SELECT case_id, max(acted_at) AS received_at, max(party) AS destination
    FROM standing_received GROUP BY case_id
), identified AS (
    SELECT case_id, min(acted_at) AS identified_at FROM standing_victim_identified GROUP BY case_id
), taken AS (
    SELECT o.party AS home, r.destination,
        CAST(floor((unix_timestamp(r.received_at) - unix_timestamp(i.identified_at)) / 86400)
            AS BIGINT) AS days
    FROM case_opened o
    JOIN identified i ON i.case_id = o.case_id
    JOIN returned r ON r.case_id = o.case_id
    WHERE o.case_id NOT IN (SELECT m.case_id FROM standing_case_merged m)
)
SELECT home, destination, count(*) AS cases, min(days) AS shortest,
    CAST(percentile_disc(0.5) WITHIN GROUP (ORDER BY days) AS BIGINT) AS median,
    max(days) AS longest
FROM taken
GROUP BY home, destination
ORDER BY home, destination
