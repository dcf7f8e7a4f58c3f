// Rows to CSV, for answers whose content type is text/csv and whose body is an array.

/** Objects go under a header line of all their keys, arrays cell by cell, anything else alone in its row. */
export function csvOf(rows) {
  const columns = [...new Set(rows.filter(isRecord).flatMap((row) => Object.keys(row)))];
  const lines = columns.length > 0 ? [lineOf(columns)] : [];
  for (const row of rows) {
    if (isRecord(row)) lines.push(lineOf(columns.map((name) => row[name])));
    else lines.push(lineOf(Array.isArray(row) ? row : [row]));
  }
  return Buffer.from(lines.join(""));
}

function isRecord(row) {
  return typeof row === "object" && row !== null && !Array.isArray(row);
}

function lineOf(cells) {
  return `${cells.map(cellOf).join(",")}\n`;
}

function cellOf(value) {
  if (value === null || value === undefined) return "";
  const text = typeof value === "object" ? JSON.stringify(value) : String(value);
  return /[",\n\r]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}
