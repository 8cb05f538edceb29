-- name: guardians
-- version: 2
-- Children by the quarter (UTC) in which their case was opened: how many got a guardian, and how
-- many within a week. The age group is that of the opening.
SELECT year(o.acted_at) AS opened_year, quarter(o.acted_at) AS opened_quarter,
    count(*) AS children, count(g.first_at) AS with_guardian,
    count(CASE WHEN g.first_at <= o.acted_at + INTERVAL '7' DAY THEN 1 END) AS within_a_week
FROM standing_case_opened o
LEFT JOIN steps g ON g.case_id = o.case_id AND g.kind = 'guardian_appointed'
WHERE o.age_group = 'child'
GROUP BY year(o.acted_at), quarter(o.acted_at)
ORDER BY opened_year, opened_quarter
