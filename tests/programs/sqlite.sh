#!/bin/sh
# sqlite.sh - SQLite in memory: inserts, indexes, joins, deletes.
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname "$0")/lib.sh"
need sqlite3

script()
{
    cat <<END
CREATE TABLE item(id INTEGER PRIMARY KEY, name TEXT, kind INT, body BLOB);
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < $1)
INSERT INTO item SELECT i, 'name' || (i * 7919 % $1), i % 97,
    zeroblob(i % 300) FROM n;
CREATE INDEX by_name ON item(name);
CREATE INDEX by_kind ON item(kind, id);
SELECT count(*), sum(length(body)), min(name), max(name) FROM item;
SELECT kind, count(*), avg(id) FROM item GROUP BY kind ORDER BY 2, 1 LIMIT 20;
SELECT count(*) FROM item a JOIN item b ON a.name = 'name' || b.id
    WHERE a.kind < 50;
UPDATE item SET name = upper(name) || '-' || kind WHERE id % 3 = 0;
DELETE FROM item WHERE kind % 5 = 0;
SELECT name, row_number() OVER (PARTITION BY kind ORDER BY name DESC) AS r
    FROM item ORDER BY r DESC, name LIMIT 30;
SELECT length(group_concat(name, ';')) FROM item;
VACUUM;
PRAGMA integrity_check;
END
}

script 100000 >"$work/large.sql"
script 3000 >"$work/small.sql"
same '100,000 rows' sqlite3 -batch -init "$work/large.sql" :memory: .exit
modes=$every
same '3,000 rows' sqlite3 -batch -init "$work/small.sql" :memory: .exit
finish
