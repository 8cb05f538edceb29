-- name: guardians
-- version: 1
-- Children by the quarter (UTC) in which their case was opened: how many got a guardian, and how
-- many within a week. The age group is that of the opening.
WITH children AS (
    SELECT o.case_id, o.acted_at AS opened_at
    FROM case_opened o
    JOIN standing s ON s.position = o.position
    WHERE o.age_group = 'child'
), appointed AS (
    SELECT case_id, min(acted_at) AS appointed_at
    FROM standing WHERE kind = 'guardian_appointed' GROUP BY case_id
)
SELECT year(c.opened_at) AS opened_year, quarter(c.opened_at) AS opened_quarter,
    count(*) AS children, count(a.appointed_at) AS with_guardian,
    count(CASE WHEN a.appointed_at <= c.opened_at + INTERVAL '7' DAY THEN 1 END) AS within_a_week
FROM children c
LEFT JOIN appointed a ON a.case_id = c.case_id
GROUP BY year(c.opened_at), quarter(c.opened_at)
ORDER BY opened_year, opened_quarter
