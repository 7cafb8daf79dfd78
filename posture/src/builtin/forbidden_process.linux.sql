-- The kernel's own threads are visible only where the machine's processes are.
-- Linux cuts names after 15 characters.
WITH
  machine(is_visible) AS (
    SELECT
      EXISTS (SELECT 1 FROM processes WHERE pid = 2 AND parent = 0 AND name = 'kthreadd')
  ),
  found(names) AS (
    SELECT group_concat(DISTINCT name) FROM processes
    WHERE lower(name) IN (
      'anydesk', 'dwagent', 'dwagsvc', 'hoptodesk', 'meshagent', 'rustdesk', 'screenconnect',
      'srmanager', 'supremo', 'teamviewer', 'teamviewerd', 'tvnserver', 'ultraviewer'
    )
  )
SELECT
  CASE WHEN names IS NOT NULL THEN 0 WHEN is_visible THEN 1 END AS pass,
  CASE
    WHEN names IS NOT NULL THEN 'running: ' || names
    WHEN is_visible THEN 'none of the listed programs is running'
    ELSE 'only a part of the machine''s processes can be seen from here'
  END AS evidence
FROM found JOIN machine;
