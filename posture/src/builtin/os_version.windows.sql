-- 26100 is Windows 11 24H2.
SELECT CAST(build AS INTEGER) >= 26100 AS pass, name || ' build ' || build AS evidence FROM os_version;
