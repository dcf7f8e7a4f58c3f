<?php
// Rows to CSV, for answers whose content type is text/csv and whose body is a list.

declare(strict_types=1);

namespace Fnbus\Guest;

/** Arrays by name go under a header line of all their keys, lists cell by cell, anything else alone in its row. */
function csv_of(array $rows): string
{
    $columns = [];
    foreach ($rows as $row) {
        if (is_record($row)) {
            $columns += \array_fill_keys(\array_keys((array) $row), true);
        }
    }
    $columns = \array_keys($columns);
    $text = $columns === [] ? '' : csv_line($columns);
    foreach ($rows as $row) {
        if (is_record($row)) {
            $row = \array_map(static fn (int|string $name): mixed => ((array) $row)[$name] ?? null, $columns);
        }
        $text .= csv_line(\is_array($row) ? $row : [$row]);
    }
    return $text;
}

function is_record(mixed $row): bool
{
    return $row instanceof \stdClass || (\is_array($row) && $row !== [] && !\array_is_list($row));
}

function csv_line(array $cells): string
{
    return \implode(',', \array_map(csv_cell(...), $cells)) . "\n";
}

function csv_cell(mixed $value): string
{
    if ($value === null) {
        return '';
    }
    $text = \is_string($value) ? $value : json_of($value);
    return \strpbrk($text, ",\"\n\r") === false ? $text : '"' . \str_replace('"', '""', $text) . '"';
}
