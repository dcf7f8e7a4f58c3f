"""How code and its handler are found, on every runtime."""

import pytest

from libs.testing.guests import LOADED, Bench, Sources


def test_main_is_the_handler_when_there_is_no_other(bench: Bench) -> None:
    sources: Sources = {
        "python": "def main(event):\n    return 'main'\n",
        "node": "exports.main = () => 'main';\n",
        "deno": "export const main = () => 'main';\n",
        "php": "<?php function main() { return 'main'; }\n",
        "bash": "main() { printf main; }\n",
    }
    assert bench.loaded(sources).call().text == "main"


def test_a_handler_of_another_name_is_used_when_configured(bench: Bench) -> None:
    sources: Sources = {
        "python": "def handler(event):\n    return 'wrong'\ndef chosen(event):\n    return 'right'\n",
        "node": "exports.handler = () => 'wrong';\nexports.chosen = () => 'right';\n",
        "deno": "export const handler = () => 'wrong';\nexport const chosen = () => 'right';\n",
        "php": "<?php\nfunction handler() { return 'wrong'; }\nfunction chosen() { return 'right'; }\n",
        "bash": "handler() { printf wrong; }\nchosen() { printf right; }\n",
    }
    assert bench.loaded(sources, handler="chosen").call().text == "right"


def test_a_configured_handler_that_is_missing_is_refused(bench: Bench) -> None:
    sources: Sources = {
        "python": "def handler(event):\n    return 1\n",
        "node": "exports.handler = () => 1;\n",
        "deno": "export const handler = () => 1;\n",
        "php": "<?php function handler() { return 1; }\n",
        "rust": "pub fn handler(_: serde_json::Value) -> i32 {\n    1\n}\n",
        "bash": "handler() { :; }\n",
    }
    assert "chosen" in bench.refused(sources, handler="chosen").failure["message"]


def test_code_can_import_files_of_its_own_folder(bench: Bench) -> None:
    sources: Sources = {
        "python": {
            "users/[id].py": "from greeting import text\nimport shared\ndef handler(event):\n    return text + shared.end\n",
            "users/greeting.py": "text = 'hello'\n",
            "shared.py": "end = '!'\n",
        },
        "node": {
            "users/[id].js": "const { text } = require('./greeting');\nconst { end } = require('../shared');\n"
            "exports.handler = () => text + end;\n",
            "users/greeting.js": "exports.text = 'hello';\n",
            "shared.js": "exports.end = '!';\n",
        },
        "deno": {
            "users/[id].ts": "import { text } from './greeting.ts';\nimport { end } from '../shared.ts';\n"
            "export const handler = () => text + end;\n",
            "users/greeting.ts": "export const text = 'hello';\n",
            "shared.ts": "export const end = '!';\n",
        },
        "php": {
            "users/[id].php": "<?php\nrequire 'greeting.php';\nrequire 'shared.php';\n"
            "function handler() { return TEXT . END; }\n",
            "users/greeting.php": "<?php const TEXT = 'hello';\n",
            "shared.php": "<?php const END = '!';\n",
        },
        "rust": {
            "users/[id].rs": (
                "mod greeting;\n"
                '#[path = "../shared.rs"]\n'
                "mod shared;\n"
                "pub fn handler(_: serde_json::Value) -> String {\n"
                '    format!("{}{}", crate::greeting::TEXT, shared::END)\n'
                "}\n"
            ),
            "users/greeting.rs": 'pub const TEXT: &str = "hello";\n',
            "shared.rs": "pub const END: char = '!';\n",
        },
    }
    assert bench.loaded(sources).call().text == "hello!"


@pytest.mark.core
def test_code_finds_files_beside_it_by_relative_path(bench: Bench) -> None:
    sources: Sources = {
        "python": {"handler.py": "def handler(event):\n    return open('data.txt').read()\n", "data.txt": "data"},
        "node": {
            "handler.js": "exports.handler = () => require('fs').readFileSync('data.txt', 'utf8');\n",
            "data.txt": "data",
        },
        "deno": {
            "handler.ts": "export const handler = () => Deno.readTextFileSync('data.txt');\n",
            "data.txt": "data",
        },
        "php": {
            "handler.php": "<?php function handler() { return file_get_contents('data.txt'); }\n",
            "data.txt": "data",
        },
        "rust": {
            "handler.rs": (
                'pub fn handler(_: serde_json::Value) -> String {\n    std::fs::read_to_string("data.txt").unwrap()\n}\n'
            ),
            "data.txt": "data",
        },
        "bash": {
            "handler.sh": "handler() { cat data.txt; }\n",
            "data.txt": "data",
        },
    }
    assert bench.loaded(sources).call().text == "data"


def test_code_may_be_named_like_a_module_of_the_language(bench: Bench) -> None:
    sources: Sources = {
        "python": {"json.py": "import os\ndef handler(event):\n    return os.path.basename(__file__)\n"},
        "node": {"fs.js": "exports.handler = () => require('fs').existsSync(__filename) && 'fs.js';\n"},
        "deno": {"fs.ts": "import fs from 'node:fs';\nexport const handler = () => fs.existsSync('fs.ts') && 'fs.ts';\n"},
        "php": {
            "json.php": "<?php function handler() { return basename(__FILE__); }\n",
        },
        "rust": {
            "std.rs": (
                "pub fn handler(_: serde_json::Value) -> &'static str {\n"
                "    std::path::Path::new(file!()).file_name().unwrap().to_str().unwrap()\n"
                "}\n"
            ),
        },
    }
    assert bench.loaded(sources).call().text in ("json.py", "fs.js", "fs.ts", "json.php", "std.rs")


def test_code_is_loaded_once_and_a_handler_called_once_per_call(bench: Bench) -> None:
    sources: Sources = {
        "python": "print('load')\ndef handler(event):\n    print('call')\n    raise TypeError('handler() got an argument')\n",
        "node": "console.log('load');\nexports.handler = () => { console.log('call'); throw new TypeError('x'); };\n",
        "deno": "console.log('load');\nexport const handler = () => { console.log('call'); throw new TypeError('x'); };\n",
        "php": '<?php\necho "load\\n";\nfunction handler() { echo "call\\n"; throw new TypeError(\'x\'); }\n',
    }
    guest = bench.loaded(sources)
    guest.call(params={"id": "7"})
    guest.call()
    assert guest.stdout.split() == ["load", "call", "call"]


@pytest.mark.core
def test_a_spare_says_ready_before_it_has_code_and_loads_later(bench: Bench) -> None:
    spare = bench.start()
    sources: Sources = {
        "python": "def handler(event):\n    return 'x'\n",
        "node": "exports.handler = () => 'x';\n",
        "deno": "export const handler = () => 'x';\n",
        "php": "<?php function handler() { return 'x'; }\n",
        "rust": 'pub fn handler(_: serde_json::Value) -> &\'static str {\n    "x"\n}\n',
        "bash": "handler() { printf x; }\n",
    }
    assert spare.load(*bench.write(sources)).type == LOADED
    assert spare.call().text == "x"
