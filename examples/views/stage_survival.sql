-- name: stage_survival
-- version: 1
-- uses: stage_steps.sql
-- The share of persons who still wait for a step's end after so many days (Kaplan and Meier). A
-- case that was closed or is still waiting counts as long as it was seen, and not as an end.
WITH days AS (
    SELECT step, days, sum(ended) AS ended, count(*) AS left_view
    FROM stage_steps GROUP BY step, days
), at_risk AS (
    SELECT step, days, ended,
        sum(left_view) OVER (PARTITION BY step ORDER BY days DESC) AS at_risk
    FROM days
), factors AS (
    SELECT step, days, ended, at_risk,
        CASE WHEN ended = at_risk THEN 1 ELSE 0 END AS is_last,
        CASE WHEN ended = at_risk THEN 0e0
            ELSE ln(CAST(at_risk - ended AS DOUBLE) / nullif(CAST(at_risk AS DOUBLE), 0e0)) END
            AS factor
    FROM at_risk
), products AS (
    SELECT step, days, at_risk, ended,
        max(is_last) OVER (PARTITION BY step ORDER BY days) AS is_over,
        sum(factor) OVER (PARTITION BY step ORDER BY days) AS logarithm
    FROM factors
)
SELECT step, days, CAST(at_risk AS BIGINT) AS at_risk, CAST(ended AS BIGINT) AS ended,
    CASE WHEN is_over = 1 THEN 0 ELSE CAST(round(1000 * exp(logarithm)) AS BIGINT) END
        AS waiting_per_thousand
FROM products
WHERE ended > 0
ORDER BY step, days
