<?php
// From the head and body of a request to the event that a handler sees.

declare(strict_types=1);

namespace Fnbus\Guest;

/**
 * A new event. The body is null in it when empty; one that is not UTF-8 is base64 beside it.
 *
 * @param array<string, string> $env
 * @param array<string, string> $secrets
 * @return array<string, mixed>
 */
function event_of(string $head, string $body, array $env, array $secrets): array
{
    $event = \json_decode($head, true, 512, \JSON_THROW_ON_ERROR);
    $event['context']['request_id'] = $event['id'];
    foreach (['traceparent', 'user', 'trigger'] as $name) {
        if (!empty($event[$name])) {
            $event['context'][$name] = $event[$name];
        }
        unset($event[$name]);
    }
    $event['path_params'] = $event['params'];
    $event['env'] = $env;
    $event['secrets'] = $secrets;
    $event['body'] = null;
    if ($body !== '') {
        if (is_utf8($body)) {
            $event['body'] = $body;
        } else {
            $event['body_base64'] = \base64_encode($body);
            $event['is_base64'] = true;
        }
    }
    $cookie = $event['headers']['cookie'] ?? null;
    if ($cookie !== null) {
        $event['session'] = session_of(\is_array($cookie) ? \implode('; ', $cookie) : $cookie);
    }
    return $event;
}

function is_utf8(string $text): bool
{
    return \preg_match('//u', $text) === 1;
}

/** @return array{id: ?string, raw: string, cookies: array<string, string>} */
function session_of(string $raw): array
{
    $cookies = [];
    foreach (\explode(';', $raw) as $pair) {
        [$name, $value] = \explode('=', \trim($pair), 2) + ['', null];
        if ($name !== '' && $value !== null) {
            $cookies[$name] ??= \trim($value, '"');
        }
    }
    $id = null;
    foreach (['session_id', 'sessionid', 'sid'] as $name) {
        $id = $id ?: ($cookies[$name] ?? null);
    }
    return ['id' => $id, 'raw' => $raw, 'cookies' => $cookies];
}
