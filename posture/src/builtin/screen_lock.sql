SELECT
  CASE
    WHEN sum(enabled = 0 OR grace_period NOT BETWEEN 0 AND 60) > 0 THEN 0
    WHEN sum(enabled = 1 AND grace_period BETWEEN 0 AND 60) = count(*) AND count(*) > 0 THEN 1
  END AS pass,
  CASE
    WHEN count(*) = 0 THEN 'no desktop session whose settings are known is running'
    WHEN sum(enabled = 0) > 0 THEN 'the screen does not lock itself'
    WHEN sum(grace_period NOT BETWEEN 0 AND 60) > 0 THEN
      'the password is asked for only after ' || max(grace_period) || ' seconds'
    WHEN sum(enabled = 1) < count(*) OR sum(enabled = 1) IS NULL THEN 'the settings of a session are not readable'
    ELSE 'the screen locks after ' || max(grace_period) || ' seconds at most'
  END AS evidence
FROM screenlock;
