<?php
// What a caller and an owner are told when user code fails.

declare(strict_types=1);

namespace Fnbus\Guest;

/** Most lines of a stack that are told. */
const STACK_LINES = 50;

/** Errors after which PHP ends. */
const FATAL = \E_ERROR | \E_PARSE | \E_CORE_ERROR | \E_COMPILE_ERROR | \E_USER_ERROR | \E_RECOVERABLE_ERROR;

function message_of(\Throwable $error, string $root): string
{
    return relative($error->getMessage() !== '' ? $error->getMessage() : $error::class, $root);
}

/** `file:line: Type: ` of the line of user code that a load error came from. */
function place_of(\Throwable $error, string $root): string
{
    if ($error instanceof NoHandler) {
        return '';
    }
    [$file, $line] = [$error->getFile(), $error->getLine()];
    foreach (\str_starts_with($file, "$root/") ? [] : $error->getTrace() as $frame) {
        if (\str_starts_with($frame['file'] ?? '', "$root/")) {
            [$file, $line] = [$frame['file'], $frame['line']];
            break;
        }
    }
    return relative($file, $root) . ":$line: " . $error::class . ': ';
}

/** The stack without the guest's own frames, with paths relative to `root`. */
function stack_of(\Throwable $error, string $root): string
{
    $lines = [$error::class . ': ' . $error->getMessage()];
    [$file, $line] = [$error->getFile(), $error->getLine()];
    foreach ([...$error->getTrace(), ['function' => '{main}']] as $frame) {
        if (!\str_starts_with($file, __DIR__ . '/')) {
            $lines[] = '    at ' . ($frame['class'] ?? '') . ($frame['type'] ?? '') . $frame['function'] . " ($file:$line)";
        }
        [$file, $line] = [$frame['file'] ?? '[internal]', $frame['line'] ?? 0];
    }
    $cause = $error->getPrevious();
    $text = \implode("\n", \array_slice($lines, 0, STACK_LINES));
    return relative($text, $root) . ($cause === null ? '' : "\ncaused by " . stack_of($cause, $root));
}

function relative(string $text, string $root): string
{
    return $root === '' ? $text : \str_replace("$root/", '', $text);
}
