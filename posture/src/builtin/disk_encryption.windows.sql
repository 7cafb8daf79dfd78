SELECT
  protection_status = 1 AND conversion_status = 1 AS pass,
  'BitLocker protection of ' || drive_letter || ' is '
    || CASE protection_status WHEN 1 THEN 'on' WHEN 0 THEN 'off' ELSE 'unknown' END AS evidence
FROM bitlocker_info
WHERE drive_letter = 'C:';
