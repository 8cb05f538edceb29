-- name: services_gap
-- version: 4
-- Identified persons whom no service reached, or not within a week.
WITH newest AS (
    SELECT case_id, max(position) AS position FROM standing_age_assessed GROUP BY case_id
), assessed AS (
    SELECT a.case_id, a.age_group
    FROM age_assessed a
    JOIN newest n ON n.case_id = a.case_id AND n.position = a.position
)
SELECT o.party AS home, coalesce(a.age_group, o.age_group) AS age_group, count(*) AS identified,
    count(CASE WHEN s.first_at IS NULL THEN 1 END) AS unserved,
    count(CASE WHEN s.first_at > i.first_at + INTERVAL '7' DAY THEN 1 END) AS after_a_week
FROM standing_case_opened o
JOIN steps i ON i.case_id = o.case_id AND i.kind = 'victim_identified'
LEFT JOIN steps s ON s.case_id = o.case_id AND s.kind = 'service_started'
LEFT JOIN assessed a ON a.case_id = o.case_id
WHERE o.case_id NOT IN (SELECT m.case_id FROM standing_case_merged m)
GROUP BY 1, 2
ORDER BY 1, 2
