-- Ends of security support as the distributions publish them (for Debian with
-- LTS). What is not listed cannot be told, and a container's release says nothing
-- about the machine: the kernel's own threads are hidden from most of them.
WITH
  supported(platform, major, minor, until) AS (
    VALUES
      ('almalinux', 8, NULL, '2029-05-31'),
      ('almalinux', 9, NULL, '2032-05-31'),
      ('almalinux', 10, NULL, '2035-05-31'),
      ('centos', 9, NULL, '2027-05-31'),
      ('debian', 11, NULL, '2026-08-31'),
      ('debian', 12, NULL, '2028-06-30'),
      ('debian', 13, NULL, '2030-06-30'),
      ('fedora', 42, NULL, '2026-05-13'),
      ('fedora', 43, NULL, '2026-12-02'),
      ('rhel', 8, NULL, '2029-05-31'),
      ('rhel', 9, NULL, '2032-05-31'),
      ('rhel', 10, NULL, '2035-05-31'),
      ('rocky', 8, NULL, '2029-05-31'),
      ('rocky', 9, NULL, '2032-05-31'),
      ('rocky', 10, NULL, '2035-05-31'),
      ('ubuntu', 20, 4, '2025-05-31'),
      ('ubuntu', 22, 4, '2027-04-30'),
      ('ubuntu', 24, 4, '2029-04-30'),
      ('ubuntu', 25, 10, '2026-07-09'),
      ('ubuntu', 26, 4, '2031-04-30')
  ),
  machine(is_visible) AS (
    SELECT
      EXISTS (SELECT 1 FROM processes WHERE pid = 2 AND parent = 0 AND name = 'kthreadd')
      AND NOT EXISTS (SELECT 1 FROM mounts WHERE path = '/' AND type = 'overlay')
      AND NOT EXISTS (
        SELECT 1 FROM file WHERE path IN ('/run/.containerenv', '/run/systemd/container')
      )
  )
SELECT
  CASE
    WHEN NOT machine.is_visible OR supported.until IS NULL THEN NULL
    ELSE supported.until >= date('now')
  END AS pass,
  CASE
    WHEN NOT machine.is_visible THEN 'only a container can be seen from here'
    WHEN supported.until IS NULL THEN
      trim(os_version.name || ' ' || os_version.version) || ': how long it is supported is not known'
    ELSE trim(os_version.name || ' ' || os_version.version) || ', supported until ' || supported.until
  END AS evidence
FROM os_version
  JOIN machine
  LEFT JOIN supported
    ON supported.platform = os_version.platform
    AND supported.major = os_version.major
    AND (supported.minor IS NULL OR supported.minor = os_version.minor);
