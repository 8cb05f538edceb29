-- name: services_gap
-- version: 3
-- Identified persons whom no service reached, or not within a week.
WITH annulled AS (
    SELECT case_id, corrects AS action_id FROM correction WHERE effect = 'annulled'
), newest AS (
    SELECT a.case_id, max(a.position) AS position
    FROM age_assessed a
    WHERE NOT EXISTS (
        SELECT 1 FROM annulled n WHERE n.case_id = a.case_id AND n.action_id = a.action_id)
    GROUP BY a.case_id
), assessed AS (
    SELECT a.case_id, a.age_group
    FROM age_assessed a
    JOIN newest n ON n.case_id = a.case_id AND n.position = a.position
), identified AS (
    SELECT v.case_id, min(v.acted_at) AS identified_at
    FROM victim_identified v
    WHERE NOT EXISTS (
        SELECT 1 FROM annulled a WHERE a.case_id = v.case_id AND a.action_id = v.action_id)
    GROUP BY v.case_id
), served AS (
    SELECT s.case_id, min(s.acted_at) AS served_at
    FROM service_started s
    WHERE NOT EXISTS (
        SELECT 1 FROM annulled a WHERE a.case_id = s.case_id AND a.action_id = s.action_id)
    GROUP BY s.case_id
), merged AS (
    SELECT m.case_id FROM case_merged m
    WHERE NOT EXISTS (
        SELECT 1 FROM merge_undone u WHERE u.case_id = m.case_id AND u.merge = m.action_id)
)
SELECT o.party AS home, coalesce(a.age_group, o.age_group) AS age_group, count(*) AS identified,
    count(CASE WHEN s.served_at IS NULL THEN 1 END) AS unserved,
    count(CASE WHEN s.served_at > i.identified_at + INTERVAL '7' DAY THEN 1 END) AS after_a_week
FROM case_opened o
JOIN identified i ON i.case_id = o.case_id
LEFT JOIN served s ON s.case_id = o.case_id
LEFT JOIN assessed a ON a.case_id = o.case_id
WHERE NOT EXISTS (
    SELECT 1 FROM annulled n WHERE n.case_id = o.case_id AND n.action_id = o.action_id)
    AND NOT EXISTS (SELECT 1 FROM merged m WHERE m.case_id = o.case_id)
GROUP BY 1, 2
ORDER BY 1, 2
