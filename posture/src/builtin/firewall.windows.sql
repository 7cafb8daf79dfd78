SELECT
  CASE firewall WHEN 'Good' THEN 1 WHEN 'Poor' THEN 0 WHEN 'Snoozed' THEN 0 END AS pass,
  'Windows Security reports the firewall as ' || firewall AS evidence
FROM windows_security_center;
