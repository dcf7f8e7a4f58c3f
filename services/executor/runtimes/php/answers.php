<?php
// From what a handler returns to status, header list and body.

declare(strict_types=1);

namespace Fnbus\Guest;

/** An array with one of these keys describes an answer; any other is the answer. */
const ENVELOPE = [
    'status' => 1, 'statusCode' => 1, 'headers' => 1, 'body' => 1, 'body_base64' => 1, 'is_base64' => 1, 'isBase64Encoded' => 1,
];

const JSON_TYPE = 'application/json';
const TEXT_TYPE = 'text/plain; charset=utf-8';
const HTML_TYPE = 'text/html; charset=utf-8';
const BINARY_TYPE = 'application/octet-stream';
const BODYLESS = [204, 304];
const JSON_FLAGS = \JSON_UNESCAPED_UNICODE | \JSON_UNESCAPED_SLASHES;

/** What goes out. A stream's content type may be '' until its first piece is known. */
final class Answer
{
    /** @param list<array{string, string}> $pairs */
    public function __construct(
        public readonly int $status,
        public readonly array $pairs,
        public readonly string $contentType,
        public readonly string|\Traversable $body,
        public readonly string $naturalType = '',
    ) {
    }

    /** The header list as JSON; a body for which the handler named no content type gets its natural one. */
    public function head(string $body): string
    {
        $pairs = $this->pairs;
        if ($body !== '' && $this->contentType === '') {
            $pairs[] = ['content-type', $this->naturalType ?: natural_type($body)];
        }
        return $pairs === [] ? '[]' : \json_encode($pairs, JSON_FLAGS | \JSON_THROW_ON_ERROR);
    }
}

/**
 * What goes out for a returned value, beside what `header()` and `http_response_code()` have said.
 *
 * @param list<array{string, string}> $said
 * @throws InvalidResponse
 * @throws \JsonException
 */
function answer_of(mixed $value, int $status, array $said): Answer
{
    if ($value instanceof \stdClass) {
        $value = \get_object_vars($value) ?: $value;
    }
    if (!\is_array($value) || \array_is_list($value) || \array_intersect_key($value, ENVELOPE) === []) {
        return finished($status ?: 200, header_pairs($said), $value);
    }
    [$pairs, $contentType] = header_pairs($value['headers'] ?? null);
    $named = \array_column($pairs, 0);
    $kept = \array_filter($said, static fn (array $pair): bool => $pair[0] === 'set-cookie' || !\in_array($pair[0], $named, true));
    [$kept, $keptType] = header_pairs(\array_values($kept));
    $pairs = [...$kept, ...$pairs];
    $status = status_in($value['status'] ?? $value['statusCode'] ?? ($status ?: 200));
    $body = $value['body'] ?? null;
    $encoded = $value['body_base64'] ?? null;
    if (!empty($value['is_base64']) || !empty($value['isBase64Encoded']) || ($body === null && $encoded !== null)) {
        $body = decoded($encoded ?? $body ?? '');
    }
    return finished($status, [$pairs, $contentType ?: $keptType], $body);
}

/** @param array{list<array{string, string}>, string} $headers */
function finished(int $status, array $headers, mixed $value): Answer
{
    [$pairs, $contentType] = $headers;
    if (\in_array($status, BODYLESS, true)) {
        return new Answer($status, $pairs, $contentType, '');
    }
    [$body, $naturalType] = written($value, $contentType);
    return new Answer($status, $pairs, $contentType, $body, $naturalType);
}

/**
 * A body as bytes or as a stream of them, and its natural content type, '' when its bytes tell.
 *
 * @return array{string|\Traversable, string}
 */
function written(mixed $value, string $contentType): array
{
    return match (true) {
        $value === null => ['', ''],
        \is_string($value), $value instanceof \Traversable => [$value, ''],
        \is_bool($value) => [$value ? 'true' : 'false', TEXT_TYPE],
        \is_int($value), \is_float($value) => [json_of($value), TEXT_TYPE],
        \is_resource($value) && \get_resource_type($value) === 'stream' => [contents($value), ''],
        \is_array($value) && \array_is_list($value) && \str_starts_with($contentType, 'text/csv') => [csv_of($value), ''],
        default => [json_of($value), JSON_TYPE],
    };
}

/** @param resource $stream */
function contents($stream): \Generator
{
    while (!\feof($stream)) {
        yield (string) \fread($stream, CHUNK_BYTES);
    }
}

function status_in(mixed $value): int
{
    if (\is_int($value) && $value >= 200 && $value <= 599) {
        return $value;
    }
    throw new InvalidResponse('status must be an integer from 200 to 599, not ' . \substr(json_of($value), 0, 60));
}

function decoded(mixed $value): string
{
    if (!\is_string($value)) {
        throw new InvalidResponse('a base64 body must be text, not ' . \get_debug_type($value));
    }
    $packed = \preg_replace('/\s+/', '', $value);
    $bytes = \strlen($packed) % 4 === 0 ? \base64_decode($packed, true) : false;
    return $bytes !== false ? $bytes : throw new InvalidResponse('the body is not base64');
}

/** The content type of a body by its bytes. */
function natural_type(string $body): string
{
    if (!is_utf8($body)) {
        return BINARY_TYPE;
    }
    $start = \strtolower(\substr(\ltrim($body), 0, 15));
    if (\preg_match('/^<(?:!doctype html|html|head|body|!--)/', $start) === 1) {
        return HTML_TYPE;
    }
    return \preg_match('/^<[a-z]./s', $start) === 1 && \str_ends_with(\rtrim($body), '>') ? HTML_TYPE : TEXT_TYPE;
}

/** @throws \JsonException a value in it has no JSON form, or contains itself */
function json_of(mixed $value): string
{
    try {
        return \json_encode($value, JSON_FLAGS | \JSON_THROW_ON_ERROR);
    } catch (\JsonException $error) {
        if ($error->getCode() === \JSON_ERROR_UNSUPPORTED_TYPE) {
            throw new \JsonException('a resource has no JSON form', $error->getCode());
        }
        if ($error->getCode() !== \JSON_ERROR_INF_OR_NAN) {
            throw $error;
        }
    }
    if (!\is_array($value)) {
        return 'null';
    }
    \array_walk_recursive($value, static function (mixed &$each): void {
        $each = \is_float($each) && !\is_finite($each) ? null : $each;
    });
    return \json_encode($value, JSON_FLAGS | \JSON_THROW_ON_ERROR);
}
