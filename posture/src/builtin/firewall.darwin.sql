SELECT
  global_state >= 1 AS pass,
  'the application firewall is ' || CASE WHEN global_state >= 1 THEN 'on' ELSE 'off' END AS evidence
FROM alf;
