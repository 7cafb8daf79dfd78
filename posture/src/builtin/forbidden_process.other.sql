WITH
  found(names) AS (
    SELECT group_concat(DISTINCT name) FROM processes
    WHERE lower(replace(name, '.exe', '')) IN (
      'anydesk', 'dwagent', 'dwagsvc', 'hoptodesk', 'meshagent', 'rustdesk', 'screenconnect',
      'screenconnect.clientservice', 'srmanager', 'supremo', 'teamviewer', 'teamviewer_service',
      'teamviewerd', 'tvnserver', 'ultraviewer', 'ultraviewer_desktop'
    )
  )
SELECT
  CASE
    WHEN names IS NOT NULL THEN 0
    WHEN EXISTS (SELECT 1 FROM processes WHERE pid IN (1, 4)) THEN 1
  END AS pass,
  coalesce('running: ' || names, 'none of the listed programs is seen running') AS evidence
FROM found;
