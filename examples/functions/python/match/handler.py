"""GET /match?pattern=o(.)&text=hello+world: a regular expression of a stranger's, in narrow limits.

`(a+)+$` with `aaaaaaaaaaaaaaaaaaaaaaaaaaaaaa!` would compute for hours. `cpu_ms` ends it, and `fn.config.json` also says
that there is no network here, no program to start, and 64 MB of memory.
"""

import re


def handler(event):
    pattern = event["query"].get("pattern", "")
    text = event["query"].get("text", "")
    try:
        found = re.finditer(pattern, text)
    except re.error as error:
        return {"status": 400, "body": {"error": f"pattern: {error}"}}
    return {"matches": [{"at": match.start(), "text": match[0], "groups": match.groups()} for match in found]}
