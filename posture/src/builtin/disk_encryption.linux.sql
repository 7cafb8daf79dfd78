SELECT
  CASE
    WHEN sum(disk_encryption.encryption_status = 'not encrypted') > 0 THEN 0
    WHEN sum(disk_encryption.encryption_status = 'encrypted') = count(*) AND count(*) > 0 THEN 1
  END AS pass,
  CASE
    WHEN count(*) = 0 THEN 'nothing is known to be mounted as the root file system'
    ELSE group_concat(
      '/ is on ' || mounts.device || ', '
        || coalesce(disk_encryption.encryption_status, 'of which encryption is not known'),
      '; '
    )
  END AS evidence
FROM mounts
  LEFT JOIN disk_encryption ON disk_encryption.name = mounts.device_alias
WHERE mounts.path = '/';
