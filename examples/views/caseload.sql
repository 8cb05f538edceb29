-- name: caseload
-- version: 2
-- Open cases by corridor and by the stage that they have come to. A case that was merged counts once.
SELECT corridor, stage, count(*) AS cases
FROM cases
WHERE closure IS NULL AND merged_into IS NULL
GROUP BY corridor, stage
ORDER BY corridor, stage
