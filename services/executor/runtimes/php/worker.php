<?php
// One worker: at most one version, one call at a time. The order of things is in guest.php.

declare(strict_types=1);

namespace Fnbus\Guest;

/** The code has no handler of the name it should have. */
final class NoHandler extends \Exception
{
}

/** The code ended the process while it was loaded. */
final class Ended extends \Exception
{
}

const INVALID = '{"error":"invalid runtime response"}';
const STYLES = ['', 'auto', 'native'];

final class Worker
{
    /** Path of the entry file, once LOAD has come. */
    public static string $entry = '';

    private static Channel $channel;
    private static string $root = '';
    private static string $entrypoint = '';
    private static string $name = 'handler';
    private static int $memoryMb = 0;
    private static bool $loading = false;
    /** @var array<string, string> */
    private static array $env = [];
    /** @var array<string, string> */
    private static array $secrets = [];
    /** @var array<string, mixed> what $_SERVER is at the start of each call */
    private static array $server = [];
    private static ?\Closure $handler = null;
    private static bool $takesParams = false;
    /** Id of the call that runs, 0 when none does. */
    private static int $call = 0;
    private static bool $started = false;
    /** @var array<string, int> usage at the start of the call */
    private static array $before = [];
    private static int $inheritedPeak = 0;
    private static int $ownPeak = 0;
    private static int $heap = -1;
    /** Flag of the last answer of a process that ends: there is no other call for it. */
    private static int $ending = 0;

    public static function boot(int $descriptor): void
    {
        self::$channel = new Channel($descriptor);
        self::$inheritedPeak = \getrusage()['ru_maxrss'];
        \register_shutdown_function(self::onShutdown(...));
        $greeting = ['protocol' => 1, 'runtime' => 'php', 'version' => \PHP_VERSION];
        self::$channel->send(READY, 0, 0, \json_encode($greeting), '');
    }

    /** Wait for the code and make the process its own; false when the executor has gone or the code is refused unread. */
    public static function prepare(): bool
    {
        while (($frame = self::$channel->receive()) !== null && $frame->type !== LOAD) {
            self::answer($frame);
        }
        if ($frame === null) {
            return false;
        }
        $head = \json_decode($frame->head, true, 512, \JSON_THROW_ON_ERROR);
        self::$root = \rtrim($head['root'], '/');
        self::$entrypoint = $head['entrypoint'];
        self::$entry = self::$root . '/' . self::$entrypoint;
        self::$name = ($head['handler'] ?? '') ?: 'handler';
        self::$memoryMb = $head['memory_mb'] ?? 0;
        self::$env = $head['env'] ?? [];
        self::$secrets = $head['secrets'] ?? [];
        if (!\in_array($head['handler_style'] ?? '', STYLES, true)) {
            self::refused(new NoHandler("php has no handler style {$head['handler_style']}"));
            return false;
        }
        self::settle();
        self::$loading = true;
        return true;
    }

    private static function settle(): void
    {
        foreach (self::$env as $name => $value) {
            \putenv("$name=$value");
        }
        $_ENV = self::$env + $_ENV;
        $_SERVER = self::$env + $_SERVER;
        $_SERVER['argv'] = [self::$entry];
        $_SERVER['argc'] = 1;
        $_SERVER['SCRIPT_FILENAME'] = $_SERVER['SCRIPT_NAME'] = $_SERVER['PHP_SELF'] = self::$entry;
        $_SERVER['PATH_TRANSLATED'] = self::$entry;
        self::$server = $_SERVER;
        $folder = \dirname(self::$entry);
        \chdir($folder);
        \set_include_path(\implode(\PATH_SEPARATOR, \array_unique([$folder, self::$root])));
        if (self::$memoryMb > 0) {
            \ini_set('memory_limit', self::$memoryMb . 'M');
        }
    }

    /** The autoloaders that composer has written for the code. */
    public static function autoload(): void
    {
        foreach (\array_unique([\dirname(self::$entry), self::$root]) as $folder) {
            if (\is_file("$folder/vendor/autoload.php")) {
                require "$folder/vendor/autoload.php";
            }
        }
    }

    /** The code has run; `returned` is what the file returned. */
    public static function loaded(mixed $returned): void
    {
        $handler = self::find($returned);
        self::$takesParams = (new \ReflectionFunction($handler))->getNumberOfParameters() > 1;
        self::$handler = $handler;
        self::$loading = false;
        \flush();
        self::$channel->send(LOADED, 0, 0, '', '');
    }

    /** The code could not be loaded. */
    public static function refused(\Throwable $error): void
    {
        self::$loading = false;
        $message = place_of($error, self::$root) . message_of($error, self::$root);
        self::fail(0, 'load_error', 500, $error::class, $message, stack_of($error, self::$root));
    }

    /** Answer calls until the executor has gone. */
    public static function serve(): void
    {
        while (($frame = self::$channel->receive()) !== null) {
            self::answer($frame);
        }
    }

    private static function find(mixed $returned): \Closure
    {
        foreach (self::$name === 'handler' ? ['handler', 'main'] : [self::$name] as $name) {
            if (\function_exists($name)) {
                return \Closure::fromCallable($name);
            }
            foreach (\get_defined_functions()['user'] as $full) {
                if (\str_ends_with($full, '\\' . \strtolower($name)) && !\str_starts_with($full, 'fnbus\\guest\\')) {
                    return \Closure::fromCallable($full);
                }
            }
        }
        if (self::$name === 'handler' && \is_callable($returned)) {
            return \Closure::fromCallable($returned);
        }
        $names = self::$name === 'handler' ? 'handler or main' : self::$name;
        throw new NoHandler(self::$entrypoint . ": no function named $names");
    }

    private static function answer(Frame $frame): void
    {
        if ($frame->type !== CALL) {
            return; // credit for a stream that has ended
        }
        self::$call = $frame->call;
        self::$started = false;
        self::$before = \getrusage();
        if (self::$handler === null) {
            self::failed(new \Error('no code is loaded'));
            return;
        }
        $_GET = $_POST = $_COOKIE = $_FILES = $_REQUEST = [];
        $_SERVER = self::$server;
        \error_clear_last();
        Output::begin(self::piece(...));
        try {
            $event = event_of($frame->head, $frame->body, self::$env, self::$secrets);
            $value = self::$takesParams ? (self::$handler)($event, $event['params']) : (self::$handler)($event);
        } catch (Gone $gone) {
            throw $gone;
        } catch (\Throwable $error) {
            self::failed($error);
            return;
        }
        self::finish($value);
    }

    /** Send what a handler has returned, echoed and flushed. */
    private static function finish(mixed $value): void
    {
        try {
            if (self::$started) {
                self::finishStream($value);
                return;
            }
            $streams = $value instanceof \Traversable;
            $echoed = $streams ? '' : Output::end();
            if ($value === null) {
                $value = $echoed;
            } elseif ($echoed !== '') {
                \fwrite(\STDOUT, $echoed);
            }
            $answer = answer_of($value, Output::$status, Output::$headers);
            if ($answer->body instanceof \Traversable) {
                self::stream($answer, $answer->body);
            } else {
                self::send(ANSWER, $answer->status, $answer->head($answer->body), $answer->body);
            }
        } catch (Gone $gone) {
            throw $gone;
        } catch (InvalidResponse $error) {
            self::logged();
            self::fail(self::$call, 'invalid_response', 502, $error::class, $error->getMessage(), '');
        } catch (\JsonException $error) {
            self::failed($error, "the handler's answer cannot be written: " . $error->getMessage());
        } catch (\Throwable $error) {
            self::failed($error);
        }
    }

    /** A stream that the handler began by flushing: what it returns is its last piece, or pieces. */
    private static function finishStream(mixed $value): void
    {
        $rest = Output::end();
        if ($rest !== '') {
            self::piece($rest);
        }
        foreach ($value instanceof \Traversable ? $value : [$value ?? ''] as $piece) {
            self::piece(self::text($piece));
        }
        self::send(END, 0, '', '');
    }

    /** A stream of what a handler yields; what it echoes meanwhile is for the log. */
    private static function stream(Answer $answer, \Traversable $pieces): void
    {
        foreach ($pieces as $piece) {
            $text = self::text($piece);
            if ($text === '') {
                continue;
            }
            if (!self::$started) {
                self::start($answer, $text);
            } else {
                self::piece($text);
            }
        }
        self::logged();
        if (self::$started) {
            self::send(END, 0, '', '');
        } else {
            self::send(ANSWER, $answer->status, $answer->head(''), '');
        }
    }

    /** A piece of the stream; the first one begins it. Also what takes the output that a handler flushes. */
    private static function piece(string $data): void
    {
        if (!self::$started) {
            self::start(answer_of('', Output::$status, Output::$headers), $data);
            return;
        }
        for ($at = 0; $at < \strlen($data); $at += CHUNK_BYTES) {
            self::$channel->chunk(self::$call, \substr($data, $at, CHUNK_BYTES));
        }
    }

    private static function start(Answer $answer, string $first): void
    {
        self::$channel->start(self::$call, $answer->status, $answer->head($first), \substr($first, 0, CHUNK_BYTES));
        self::$started = true;
        self::piece(\substr($first, CHUNK_BYTES));
    }

    private static function text(mixed $piece): string
    {
        if (\is_string($piece) || $piece instanceof \Stringable || \is_int($piece) || \is_float($piece)) {
            return (string) $piece;
        }
        throw new \TypeError('a piece of a stream must be a string, not ' . \get_debug_type($piece));
    }

    private static function failed(\Throwable $error, string $message = ''): void
    {
        self::logged();
        $message = $message ?: message_of($error, self::$root);
        self::fail(self::$call, 'handler_error', 500, $error::class, $message, stack_of($error, self::$root));
    }

    /** End the collecting of output; what is there goes to the log. */
    private static function logged(): void
    {
        $echoed = Output::end();
        if ($echoed !== '') {
            \fwrite(\STDOUT, $echoed);
        }
    }

    private static function fail(int $call, string $code, int $status, string $type, string $message, string $stack): void
    {
        $flags = JSON_FLAGS | \JSON_INVALID_UTF8_SUBSTITUTE;
        $head = \json_encode(['code' => $code, 'type' => $type, 'message' => $message, 'stack' => $stack], $flags);
        $told = $code === 'memory_limit' ? "runtime error: $message" : $message;
        self::$call = $call;
        self::send(ERROR, $status, $head, $code === 'invalid_response' ? INVALID : \json_encode(['error' => $told], $flags));
    }

    /** Send a call's last frame, and say what it used. */
    private static function send(int $type, int $status, string $head, string $body): void
    {
        $call = self::$call;
        self::$call = 0;
        $now = \getrusage();
        $cpu = $flags = 0;
        if (self::$before !== []) {
            foreach (['ru_utime', 'ru_stime'] as $name) {
                $cpu += ($now["$name.tv_sec"] - self::$before["$name.tv_sec"]) * 1_000_000;
                $cpu += $now["$name.tv_usec"] - self::$before["$name.tv_usec"];
            }
            $flags = $now['ru_nvcsw'] === self::$before['ru_nvcsw'] ? COMPUTED : 0;
        }
        self::$channel->send($type, $call, $status, $head, $body, $cpu, self::peak($now['ru_maxrss']), $flags | self::$ending);
    }

    /**
     * The largest resident size so far, in KiB. A kernel counts into `ru_maxrss` the size of the program that started this
     * one; until that is outgrown the worker's own figure is read from `/proc`, when the heap has grown.
     */
    private static function peak(int $maxrss): int
    {
        if ($maxrss > self::$inheritedPeak) {
            return $maxrss;
        }
        $heap = \memory_get_peak_usage(true);
        if ($heap !== self::$heap) {
            self::$heap = $heap;
            $status = (string) @\file_get_contents('/proc/self/status');
            self::$ownPeak = \preg_match('/^VmHWM:\s+(\d+)/m', $status, $found) === 1 ? (int) $found[1] : 0;
        }
        return self::$ownPeak;
    }

    /** The process ends: because the executor has gone, because the code said `exit`, or by an error that cannot be caught. */
    private static function onShutdown(): void
    {
        self::$ending = BACKGROUND;
        \ini_set('memory_limit', '-1');
        $last = \error_get_last();
        $error = $last !== null && ($last['type'] & FATAL) !== 0 ? $last : null;
        try {
            if (!self::$channel->owned()) {
                self::logged();
            } elseif (self::$loading) {
                self::$loading = false;
                $place = $error ? relative($error['file'], self::$root) . ":{$error['line']}: " : '';
                $message = $error ? relative($error['message'], self::$root) : 'the code ended the process while it was loaded';
                self::fail(0, 'load_error', 500, 'Error', $place . $message, $place . $message);
            } elseif (self::$call !== 0 && $error !== null) {
                self::fatal($error);
            } elseif (self::$call !== 0) {
                self::finish(null);
            }
        } catch (Gone) {
            return;
        }
    }

    /** @param array{type: int, message: string, file: string, line: int} $error */
    private static function fatal(array $error): void
    {
        self::logged();
        $message = relative($error['message'], self::$root);
        $place = relative($error['file'], self::$root) . ":{$error['line']}";
        if (\str_starts_with($message, 'Allowed memory size')) {
            $text = 'memory limit of ' . self::$memoryMb . ' MB exceeded';
            self::fail(self::$call, 'memory_limit', 502, '', $text, "$message\n    at $place");
            return;
        }
        self::fail(self::$call, 'handler_error', 500, 'Error', $message, "$message\n    at $place");
    }
}
