SELECT major >= 15 AS pass, name || ' ' || version AS evidence FROM os_version;
