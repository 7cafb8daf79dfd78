SELECT
  CASE
    WHEN sum(filevault_status = 'on') > 0 THEN 1
    WHEN sum(filevault_status = 'off') > 0 THEN 0
  END AS pass,
  'FileVault: ' || coalesce(group_concat(DISTINCT filevault_status), 'unknown') AS evidence
FROM disk_encryption
WHERE user_uuid <> '';
