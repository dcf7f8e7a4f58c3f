"""GET /reports/sales?year=2024: a table to download, as CSV.

A folder is a part of the path. The header `content-disposition` makes browsers save the answer as a file.
"""

import csv
import io

SALES = [
    (2023, "books", 1200),
    (2023, "maps", 310),
    (2024, "books", 1460),
    (2024, "maps, folded", 275),
]


def handler(event):
    year = event["query"].get("year")
    table = io.StringIO(newline="")
    writer = csv.writer(table)
    writer.writerow(("year", "item", "sold"))
    writer.writerows(row for row in SALES if year in (None, str(row[0])))
    return {
        "headers": {
            "content-type": "text/csv; charset=utf-8",
            "content-disposition": 'attachment; filename="sales.csv"',
        },
        "body": table.getvalue(),
    }
