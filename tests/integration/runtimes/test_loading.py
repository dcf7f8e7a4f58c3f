"""How code and its handler are found, on every runtime."""

from libs.testing.guests import LOADED, Bench, Sources


def test_main_is_the_handler_when_there_is_no_other(bench: Bench) -> None:
    sources: Sources = {
        "python": "def main(event):\n    return 'main'\n",
        "node": "exports.main = () => 'main';\n",
        "deno": "export const main = () => 'main';\n",
    }
    assert bench.loaded(sources).call().text == "main"


def test_a_handler_of_another_name_is_used_when_configured(bench: Bench) -> None:
    sources: Sources = {
        "python": "def handler(event):\n    return 'wrong'\ndef chosen(event):\n    return 'right'\n",
        "node": "exports.handler = () => 'wrong';\nexports.chosen = () => 'right';\n",
        "deno": "export const handler = () => 'wrong';\nexport const chosen = () => 'right';\n",
    }
    assert bench.loaded(sources, handler="chosen").call().text == "right"


def test_a_configured_handler_that_is_missing_is_refused(bench: Bench) -> None:
    sources: Sources = {
        "python": "def handler(event):\n    return 1\n",
        "node": "exports.handler = () => 1;\n",
        "deno": "export const handler = () => 1;\n",
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
    }
    assert bench.loaded(sources).call().text == "hello!"


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
    }
    assert bench.loaded(sources).call().text == "data"


def test_code_may_be_named_like_a_module_of_the_language(bench: Bench) -> None:
    sources: Sources = {
        "python": {"json.py": "import os\ndef handler(event):\n    return os.path.basename(__file__)\n"},
        "node": {"fs.js": "exports.handler = () => require('fs').existsSync(__filename) && 'fs.js';\n"},
        "deno": {"fs.ts": "import fs from 'node:fs';\nexport const handler = () => fs.existsSync('fs.ts') && 'fs.ts';\n"},
    }
    assert bench.loaded(sources).call().text in ("json.py", "fs.js", "fs.ts")


def test_code_is_loaded_once_and_a_handler_called_once_per_call(bench: Bench) -> None:
    sources: Sources = {
        "python": "print('load')\ndef handler(event):\n    print('call')\n    raise TypeError('handler() got an argument')\n",
        "node": "console.log('load');\nexports.handler = () => { console.log('call'); throw new TypeError('x'); };\n",
        "deno": "console.log('load');\nexport const handler = () => { console.log('call'); throw new TypeError('x'); };\n",
    }
    guest = bench.loaded(sources)
    guest.call(params={"id": "7"})
    guest.call()
    assert guest.stdout.split() == ["load", "call", "call"]


def test_a_spare_says_ready_before_it_has_code_and_loads_later(bench: Bench) -> None:
    spare = bench.start()
    sources: Sources = {
        "python": "def handler(event):\n    return 'x'\n",
        "node": "exports.handler = () => 'x';\n",
        "deno": "export const handler = () => 'x';\n",
    }
    assert spare.load(*bench.write(sources)).type == LOADED
    assert spare.call().text == "x"
