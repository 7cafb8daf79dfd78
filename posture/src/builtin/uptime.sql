SELECT
  total_seconds < 30 * 86400 AS pass,
  'running for ' || days || ' days and ' || hours || ' hours' AS evidence
FROM uptime;
