<?php
// The program of a PHP worker: loads one version, then answers one call after the other until the executor closes the
// descriptor that the last argument names.
//
// The user's file runs at this file's own level, so that its variables are the global ones that its functions expect; that
// is why there is no variable here.

require __DIR__ . '/channel.php';
require __DIR__ . '/headers.php';
require __DIR__ . '/csv.php';
require __DIR__ . '/answers.php';
require __DIR__ . '/events.php';
require __DIR__ . '/failures.php';
require __DIR__ . '/output.php';
require __DIR__ . '/worker.php';

try {
    \Fnbus\Guest\Worker::boot((int) array_pop($argv));
    if (\Fnbus\Guest\Worker::prepare()) {
        try {
            $argv = [\Fnbus\Guest\Worker::$entry];
            $argc = 1;
            \Fnbus\Guest\Worker::autoload();
            \Fnbus\Guest\Worker::loaded(require \Fnbus\Guest\Worker::$entry);
        } catch (\Fnbus\Guest\Gone $error) {
            throw $error;
        } catch (\Throwable $error) {
            \Fnbus\Guest\Worker::refused($error);
            unset($error);
        }
    }
    \Fnbus\Guest\Worker::serve();
} catch (\Fnbus\Guest\Gone) {
    // there is nobody left to tell
}
