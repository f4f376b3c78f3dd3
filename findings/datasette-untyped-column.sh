#!/usr/bin/env bash
# Datasette's paging of a table that was made with CREATE TABLE … AS ends after one page, or never ends.
#
# Datasette serves SQLite tables as JSON and names the next page in `next_url`. One would expect a client that follows
# it to meet each row once, whatever column the list is sorted by.
#
# CREATE TABLE … AS SELECT gives a column that is computed (a sum, a count, an average) no type. The next page is
# asked for with the last value as text, and SQLite compares a text with a number of an untyped column by kind: every
# number is smaller than every text. So `column > '100'` is never true and `column < '100'` always is. Ascending, page
# 2 is empty and the list ends, although the answer itself counts all rows. Descending, each next page is page 1
# again, for ever. The status is 200 throughout. With a declared type all is well.
#
# Seen, Datasette 0.65.5, 250 rows in pages of 100: sorted by the sum, ascending: 100 rows in 2 pages, then the end;
# descending: 1000 rows in the 10 pages that were tried, 100 of them different; by a typed column: 250 in 3.
#
# What it means: "no next link" and "empty page" do not prove the end. Compare what came with the count that the
# server gives, and stop when a page repeats the one before.
set -euo pipefail

# shellcheck source=findings/lib/common.sh
. "$(dirname -- "${BASH_SOURCE[0]}")/lib/common.sh"

# walked QUERY: follows next_url for at most ten pages.
walked() {
    "$PYTHON" - "http://127.0.0.1:$PORT/shop/$1" <<'END'
import json, sys, urllib.request

url, pages, rows = sys.argv[1], 0, []
open_url = urllib.request.build_opener(urllib.request.ProxyHandler({})).open
while url and pages < 10:
    answer = json.load(open_url(url))
    pages += 1
    rows += map(tuple, answer["rows"])
    url = answer["next_url"]
print(f"{pages} pages, {len(rows)} rows, {len(set(rows))} different, said {answer['filtered_table_rows_count']},",
      "goes on" if url else "ends")
END
}

pip datasette==0.65.5
"$PYTHON" - "$WORK/shop.db" <<'END'
import sqlite3, sys

with sqlite3.connect(sys.argv[1]) as shop:
    shop.execute("CREATE TABLE orders (customer INTEGER, cents INTEGER)")
    shop.executemany("INSERT INTO orders VALUES (?, ?)", [(i % 250, 100 * i) for i in range(500)])
    shop.execute("CREATE TABLE totals AS SELECT customer, sum(cents) AS total FROM orders GROUP BY customer")
    shop.execute("CREATE TABLE typed (customer INTEGER, total INTEGER)")
    shop.execute("INSERT INTO typed SELECT * FROM totals")
END
PORT=$(free_port)
"$WORK/venv/bin/datasette" serve "$WORK/shop.db" --port "$PORT" >"$WORK/datasette.log" 2>&1 &
SERVERS+=($!)
accepts "$PORT"
expect "typed" "$(walked 'typed.json?_size=100&_sort=total')" "3 pages, 250 rows, 250 different, said 250, ends"
expect "untyped" "$(walked 'totals.json?_size=100&_sort=total')" "2 pages, 100 rows, 100 different, said 250, ends"
expect "untyped, descending" "$(walked 'totals.json?_size=100&_sort_desc=total')" \
    "10 pages, 1000 rows, 100 different, said 250, goes on"
echo "as described"
