<?php
// What a handler echoes, and the functions by which it speaks of its answer outside of what it returns.
//
// php-cli keeps no headers and writes what is flushed to its standard output. The host side has PHP forget its own functions
// of these names (`disable_functions`), so that they can be declared here, with the meaning that they have on a web server.

declare(strict_types=1);

namespace Fnbus\Guest {
    /** What one call has said so far. */
    final class Output
    {
        /** @var list<array{string, string}> headers of the answer, by lower-case name */
        public static array $headers = [];
        public static int $status = 0;
        public static string $echoed = '';
        /** Depth of output buffers outside of the handler's own. */
        public static int $base = 0;
        /** @var ?\Closure(string): void takes what the handler flushes; null outside of calls */
        private static ?\Closure $stream = null;
        private static bool $streaming = false;

        /** Whether the head of the answer is on its way, so that nothing can be added to it. */
        public static function sent(): bool
        {
            return self::$streaming;
        }

        /** Begin a call: what is echoed from now on is collected, what is flushed goes to `stream`. */
        public static function begin(\Closure $stream): void
        {
            self::$headers = [];
            self::$status = 0;
            self::$echoed = '';
            self::$stream = $stream;
            self::$streaming = false;
            \ob_start(self::take(...), CHUNK_BYTES);
            self::$base = 1;
        }

        /** End a call and return what was echoed and not streamed. */
        public static function end(): string
        {
            while (\count(\ob_get_status(true)) > 0) {
                if (\ob_get_flush() === false) {
                    break;
                }
            }
            self::$base = 0;
            self::$stream = null;
            $echoed = self::$echoed;
            self::$echoed = '';
            return $echoed;
        }

        private static function take(string $data, int $phase): string
        {
            if (($phase & \PHP_OUTPUT_HANDLER_CLEAN) !== 0) {
                return '';
            }
            self::$streaming = self::$streaming || ($phase & \PHP_OUTPUT_HANDLER_FLUSH) !== 0;
            self::$echoed .= $data;
            if (self::$streaming && self::$stream !== null && self::$echoed !== '') {
                $piece = self::$echoed;
                self::$echoed = '';
                (self::$stream)($piece);
            }
            return '';
        }
    }
}

namespace {
    use Fnbus\Guest\Output;

    function header(string $header, bool $replace = true, int $response_code = 0): void
    {
        if (preg_match('~^HTTP/[\d.]+ +(\d{3})~i', $header, $found) === 1) {
            Output::$status = (int) $found[1];
            return;
        }
        [$name, $value] = array_map(trim(...), explode(':', $header, 2) + ['', '']);
        $name = strtolower($name);
        if ($replace) {
            header_remove($name);
        }
        Output::$headers[] = [$name, $value];
        if ($response_code > 0) {
            Output::$status = $response_code;
        } elseif ($name === 'location' && Output::$status !== 201 && intdiv(Output::$status, 100) !== 3) {
            Output::$status = 302;
        }
    }

    function header_remove(?string $name = null): void
    {
        $gone = $name === null ? null : strtolower($name);
        Output::$headers = array_values(array_filter(Output::$headers, static fn (array $pair): bool => $gone !== null && $pair[0] !== $gone));
    }

    /** @return list<string> */
    function headers_list(): array
    {
        return array_map(static fn (array $pair): string => "$pair[0]: $pair[1]", Output::$headers);
    }

    function headers_sent(?string &$filename = null, ?int &$line = null): bool
    {
        [$filename, $line] = ['', 0];
        return Output::sent();
    }

    function http_response_code(int $response_code = 0): int|bool
    {
        $before = Output::$status;
        if ($response_code > 0) {
            Output::$status = $response_code;
        }
        return $response_code > 0 ? ($before ?: true) : ($before ?: 200);
    }

    /** @param array<string, mixed>|int $expires_or_options */
    function setcookie(string $name, string $value = '', array|int $expires_or_options = 0, string $path = '', string $domain = '', bool $secure = false, bool $httponly = false): bool
    {
        return setrawcookie($name, rawurlencode($value), $expires_or_options, $path, $domain, $secure, $httponly);
    }

    /** @param array<string, mixed>|int $expires_or_options */
    function setrawcookie(string $name, string $value = '', array|int $expires_or_options = 0, string $path = '', string $domain = '', bool $secure = false, bool $httponly = false): bool
    {
        $given = is_array($expires_or_options) ? $expires_or_options : ['expires' => $expires_or_options];
        $options = array_change_key_case($given) + ['path' => $path, 'domain' => $domain, 'secure' => $secure, 'httponly' => $httponly];
        $expires = (int) ($options['expires'] ?? 0);
        $parts = ["$name=$value"];
        if ($expires !== 0) {
            $parts[] = 'expires=' . gmdate('D, d M Y H:i:s', $expires) . ' GMT';
            $parts[] = 'Max-Age=' . max(0, $expires - time());
        }
        foreach (['path' => 'path', 'domain' => 'domain', 'samesite' => 'SameSite'] as $key => $spelt) {
            if (!empty($options[$key])) {
                $parts[] = "$spelt=$options[$key]";
            }
        }
        foreach (['secure' => 'secure', 'httponly' => 'HttpOnly'] as $key => $spelt) {
            if (!empty($options[$key])) {
                $parts[] = $spelt;
            }
        }
        Output::$headers[] = ['set-cookie', implode('; ', $parts)];
        return true;
    }

    /** Send what has been echoed so far to the caller; the answer is a stream from then on. */
    function flush(): void
    {
        if (Output::$base > 0 && ob_get_level() === 0) {
            ob_flush();
        }
    }

    function ob_get_level(): int
    {
        return max(0, count(ob_get_status(true)) - Output::$base);
    }

    function ob_end_flush(): bool
    {
        return ob_get_level() > 0 && ob_get_flush() !== false;
    }

    function ob_end_clean(): bool
    {
        return ob_get_level() > 0 && ob_get_clean() !== false;
    }
}
