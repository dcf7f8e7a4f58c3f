<?php
// The headers of an answer: what may go on the wire, and what is not a handler's to say.

declare(strict_types=1);

namespace Fnbus\Guest;

/** What the handler returned describes no possible answer. */
final class InvalidResponse extends \Exception
{
}

/** Headers of the connection, which belongs to the gateway; they are dropped. */
const NOT_ITS_OWN = [
    'connection', 'content-length', 'keep-alive', 'proxy-authenticate', 'proxy-authorization', 'proxy-connection', 'te', 'trailer',
    'trailers', 'transfer-encoding', 'upgrade',
];

/**
 * [name, value] pairs with lower-case names, and the content type among them or ''. Takes an array by name, where a list
 * as value gives several headers and null none, or a list of pairs.
 *
 * @return array{list<array{string, string}>, string}
 * @throws InvalidResponse that names the header
 */
function header_pairs(mixed $headers): array
{
    $pairs = [];
    $contentType = '';
    foreach (named($headers) as [$key, $value]) {
        $name = \strtolower((string) $key);
        if (\preg_match("/^[!#$%&'*+\-.^_`|~0-9a-z]+$/D", $name) !== 1) {
            throw new InvalidResponse('not a header name: ' . json_of(\substr($name, 0, 80)));
        }
        if (\in_array($name, NOT_ITS_OWN, true)) {
            continue;
        }
        foreach (\is_array($value) && \array_is_list($value) ? $value : [$value] as $each) {
            if ($each === null) {
                continue;
            }
            $text = header_text($name, $each);
            if ($name === 'content-type') {
                if ($contentType !== '') {
                    continue;
                }
                $contentType = $text;
            }
            $pairs[] = [$name, $text];
        }
    }
    return [$pairs, $contentType];
}

/** @return iterable<array{int|string, mixed}> */
function named(mixed $headers): iterable
{
    if ($headers instanceof \stdClass) {
        $headers = (array) $headers;
    }
    if ($headers === null) {
        return;
    }
    if (!\is_array($headers)) {
        throw new InvalidResponse('headers must be an array, not ' . \get_debug_type($headers));
    }
    foreach ($headers as $name => $value) {
        if (!\array_is_list($headers)) {
            yield [$name, $value];
        } elseif (\is_array($value) && \array_is_list($value) && \count($value) === 2 && \is_string($value[0])) {
            yield $value;
        } else {
            throw new InvalidResponse('headers must be an array by name or a list of [name, value]');
        }
    }
}

function header_text(string $name, mixed $value): string
{
    if (!\is_scalar($value) && !$value instanceof \Stringable) {
        throw new InvalidResponse("header $name: " . \get_debug_type($value) . ' is not a header value');
    }
    $text = \is_bool($value) ? ($value ? 'true' : 'false') : (string) $value;
    if (!is_utf8($text)) {
        $text = utf8_of_latin1($text);
    }
    if (\preg_match('/[\x00-\x08\x0a-\x1f\x7f]/', $text) === 1) {
        throw new InvalidResponse("header $name: control characters are not allowed");
    }
    if (\preg_match('/^[\x{0}-\x{ff}]*$/Du', $text) !== 1) {
        throw new InvalidResponse("header $name: only latin-1 characters are allowed");
    }
    return \trim($text);
}

function utf8_of_latin1(string $bytes): string
{
    return \preg_replace_callback(
        '/[\x80-\xff]/',
        static fn (array $found): string => \chr(0xc0 | \ord($found[0]) >> 6) . \chr(0x80 | \ord($found[0]) & 0x3f),
        $bytes,
    );
}
