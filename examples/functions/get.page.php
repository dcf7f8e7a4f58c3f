<?php

// GET /page?name=Ada: a PHP page.
//
// A handler that returns nothing answers with what it has echoed, and header() does what it does on a web server.

function handler(array $event): void
{
    $name = htmlspecialchars($event['query']['name'] ?? 'World');
    header('Cache-Control: no-store');
    ?>
<!doctype html>
<title>Hello</title>
<h1>Hello, <?= $name ?>!</h1>
<p>It is <?= gmdate('H:i') ?> in Greenwich.</p>
<?php
}
