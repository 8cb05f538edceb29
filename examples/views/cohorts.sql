-- name: cohorts
-- version: 2
-- Cases by the quarter (UTC) of their opening: how far they came within half a year, of those that
-- were seen for so long.
WITH firsts AS (
    SELECT case_id,
        min(CASE WHEN kind = 'case_opened' THEN first_at END) AS opened_at,
        min(CASE WHEN kind = 'victim_identified' THEN first_at END) AS identified_at,
        min(CASE WHEN kind = 'service_started' THEN first_at END) AS served_at,
        min(CASE WHEN kind = 'received' THEN first_at END) AS received_at
    FROM steps GROUP BY case_id
), last_act AS (
    SELECT max(acted_at) AS seen_until FROM standing
), cohort AS (
    SELECT f.*, f.opened_at + INTERVAL '180' DAY AS until, l.seen_until
    FROM firsts f CROSS JOIN last_act l
)
SELECT year(opened_at) AS opened_year, quarter(opened_at) AS opened_quarter, count(*) AS opened,
    count(CASE WHEN until <= seen_until THEN 1 END) AS seen_half_a_year,
    count(CASE WHEN until <= seen_until AND identified_at <= until THEN 1 END) AS identified,
    count(CASE WHEN until <= seen_until AND served_at <= until THEN 1 END) AS served,
    count(CASE WHEN until <= seen_until AND received_at <= until THEN 1 END) AS received
FROM cohort
GROUP BY year(opened_at), quarter(opened_at)
ORDER BY opened_year, opened_quarter
