-- The machine's own inactivity limit. A person's screen saver may lock as well,
-- but that cannot be told from here, so its absence is not a failure.
SELECT
  CASE WHEN CAST(data AS INTEGER) BETWEEN 1 AND 900 THEN 1 ELSE 0 END AS pass,
  'the machine locks after ' || data || ' seconds without input' AS evidence
FROM registry
WHERE
  path = 'HKEY_LOCAL_MACHINE\SOFTWARE\Microsoft\Windows\CurrentVersion\Policies\System\InactivityTimeoutSecs';
