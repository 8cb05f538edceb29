-- name: stage_flow
-- version: 2
-- How often cases pass from one stage to another, in the order in which acts were recorded. A way
-- back counts too. Acts of coordination are of no stage.
WITH acts AS (
    SELECT case_id, position, stage,
        lag(stage) OVER (PARTITION BY case_id ORDER BY position) AS before
    FROM standing
    WHERE stage <> 'coordination'
        AND case_id IN (SELECT case_id FROM standing_case_opened)
)
SELECT coalesce(before, 'new') AS from_stage, stage AS to_stage, count(*) AS passages,
    count(DISTINCT case_id) AS cases
FROM acts
WHERE before IS NULL OR before <> stage
GROUP BY coalesce(before, 'new'), stage
ORDER BY from_stage, to_stage
