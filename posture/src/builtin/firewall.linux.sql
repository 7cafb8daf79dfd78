-- Ubuntu starts ufw.service even where ufw is switched off, so its
-- configuration decides. No rows of systemd's: nothing can be told.
WITH
  active(id) AS (
    SELECT id FROM systemd_units
    WHERE id IN ('firewalld.service', 'nftables.service', 'ufw.service') AND active_state = 'active'
  ),
  ufw(enabled) AS (
    SELECT lower(value) FROM augeas WHERE path = '/etc/ufw/ufw.conf' AND label = 'ENABLED'
  ),
  machine(is_visible) AS (
    SELECT
      EXISTS (SELECT 1 FROM systemd_units)
      AND EXISTS (SELECT 1 FROM processes WHERE pid = 2 AND parent = 0 AND name = 'kthreadd')
      AND NOT EXISTS (SELECT 1 FROM mounts WHERE path = '/' AND type = 'overlay')
      AND NOT EXISTS (
        SELECT 1 FROM file WHERE path IN ('/run/.containerenv', '/run/systemd/container')
      )
  ),
  seen AS (
    SELECT
      (SELECT is_visible FROM machine) AS is_visible,
      (SELECT group_concat(id, ', ') FROM active WHERE id <> 'ufw.service') AS others,
      EXISTS (SELECT 1 FROM active WHERE id = 'ufw.service') AS ufw_active,
      (SELECT max(enabled) FROM ufw) AS ufw_enabled
  )
SELECT
  CASE
    WHEN NOT is_visible THEN NULL
    WHEN others IS NOT NULL THEN 1
    WHEN ufw_active AND ufw_enabled IS NULL THEN NULL
    ELSE ufw_active AND ufw_enabled = 'yes'
  END AS pass,
  CASE
    WHEN NOT is_visible THEN 'services cannot be seen: systemd does not run, or this is a container'
    WHEN others IS NOT NULL THEN 'active: ' || others
    WHEN ufw_active AND ufw_enabled IS NULL THEN 'ufw is active, but its configuration is not readable'
    WHEN ufw_active AND ufw_enabled = 'yes' THEN 'active: ufw'
    WHEN ufw_enabled = 'yes' THEN 'ufw is enabled but its service is not active'
    ELSE 'none of firewalld, nftables and ufw is active'
  END AS evidence
FROM seen;
