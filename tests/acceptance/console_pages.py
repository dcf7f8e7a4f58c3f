"""The commands of FastFN's two reference pages, as printed there, and a shell that runs them.

Where a page prints an address, the one of the platform under test is put in; where it prints `<id>`, the id of the last job.
"""

import asyncio
import json
import shlex
import shutil
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

PRINTED_URL = "http://127.0.0.1:8080"

CREATE = """curl -sS 'http://127.0.0.1:8080/_fn/function?runtime=python&name=demo-new' \\
-X POST \\
-H 'Content-Type: application/json' \\
--data '{"methods":["GET"],"summary":"Demo function"}'"""
DETAIL = "curl -sS 'http://127.0.0.1:8080/_fn/function?runtime=python&name=demo-new'"
DEPENDENCIES = """curl -sS 'http://127.0.0.1:8080/_fn/function?runtime=python&name=demo-new' \\
| python3 - <<'PY'
import json, sys
obj = json.load(sys.stdin)
print(json.dumps((obj.get("metadata") or {}).get("dependency_resolution"), indent=2))
PY"""
POLICY = """curl -sS 'http://127.0.0.1:8080/_fn/function-config?runtime=python&name=demo-new' \\
-X PUT \\
-H 'Content-Type: application/json' \\
--data '{"timeout_ms":1200,"max_concurrency":5,"max_body_bytes":262144,"invoke":{"methods":["GET","POST"]}}'"""
PACKS = """curl -sS 'http://127.0.0.1:8080/_fn/function-config?runtime=python&name=demo-new' \\
-X PUT \\
-H 'Content-Type: application/json' \\
--data '{"shared_deps":["common_http"]}'"""
SCHEDULE = """curl -sS 'http://127.0.0.1:8080/_fn/function-config?runtime=python&name=demo-new' \\
-X PUT \\
-H 'Content-Type: application/json' \\
--data '{"schedule":{"enabled":true,"every_seconds":60,"method":"GET","query":{"action":"inc"},"headers":{},"body":"","context":{}}}'"""  # noqa: E501  as printed
SCHEDULES = "curl -sS 'http://127.0.0.1:8080/_fn/schedules'"
ENV = """curl -sS 'http://127.0.0.1:8080/_fn/function-env?runtime=python&name=demo-new' \\
-X PUT \\
-H 'Content-Type: application/json' \\
--data '{"GREETING_PREFIX":"hello"}'"""
CODE = """curl -sS 'http://127.0.0.1:8080/_fn/function-code?runtime=python&name=demo-new' \\
-X PUT \\
-H 'Content-Type: application/json' \\
--data '{"code":"import json\\n\\ndef handler(event):\\n q = event.get(\\"query\\") or {}\\n return {\\"status\\":200,\\"headers\\":{\\"Content-Type\\":\\"application/json\\"},\\"body\\":json.dumps({\\"ok\\":True,\\"query\\":q})}\\n"}'"""  # noqa: E501  as printed
INVOKE = """curl -sS 'http://127.0.0.1:8080/_fn/invoke' \\
-X POST \\
-H 'Content-Type: application/json' \\
--data '{"runtime":"python","name":"demo-new","method":"GET","query":{"name":"Ops"}}'"""
JOB = """curl -sS 'http://127.0.0.1:8080/_fn/jobs' \\
-X POST \\
-H 'Content-Type: application/json' \\
--data '{"name":"demo-new","method":"GET","query":{"name":"Async"}}'"""
JOB_META = "curl -sS 'http://127.0.0.1:8080/_fn/jobs/<id>'"
JOB_RESULT = "curl -sS 'http://127.0.0.1:8080/_fn/jobs/<id>/result'"
DELETE = "curl -sS 'http://127.0.0.1:8080/_fn/function?runtime=python&name=demo-new' -X DELETE"

RISK_SCORE = """curl -sS -X POST 'http://127.0.0.1:8080/risk-score?email=user@example.com' \\
-H 'Content-Type: application/json' \\
-d '{"source":"web"}'"""
NODE_ECHO = """curl -sS 'http://127.0.0.1:8080/_fn/invoke' \\
-X POST \\
-H 'Content-Type: application/json' \\
--data '{
"runtime":"node",
"name":"node-echo",
"version":null,
"method":"POST",
"query":{"name":"Node"},
"body":"{\\"x\\":1}",
"context":{"trace_id":"abc-123"}
}'"""
HEALTH = "curl -i -sS 'http://127.0.0.1:8080/_fn/health'"
CATALOG = "curl -sS 'http://127.0.0.1:8080/_fn/catalog' | jq '{mapped_routes, mapped_route_conflicts}'"

HAS_CURL = shutil.which("curl") is not None
HAS_JQ = shutil.which("jq") is not None


@dataclass(slots=True)
class Shell:
    """A shell in front of a platform."""

    url: str
    job: str = field(default="")
    """Id of the last job."""
    is_remote: bool = False
    """Whether the platform follows no folder: files are brought to it."""

    async def bring(self, functions: Path) -> None:
        """Have a folder of functions there."""
        if self.is_remote:
            await self.prints(shlex.join([sys.executable, "-m", "cli.main", "deploy", str(functions), "--url", self.url]))

    async def prints(self, command: str) -> str:
        """Run a printed command; return what it prints.

        Raises:
            AssertionError: it failed.
        """
        command = command.replace(PRINTED_URL, self.url).replace("<id>", self.job)
        process = await asyncio.create_subprocess_exec(
            "sh", "-c", command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
        )
        out, err = await process.communicate()
        assert process.returncode == 0, f"{command}\n{err.decode()}"
        return out.decode()

    async def answers(self, command: str) -> Any:
        """Run a printed command; return the JSON that it prints.

        Raises:
            AssertionError: it failed, or what it prints is an error.
        """
        printed = await self.prints(command)
        found: Any = json.loads(printed)
        assert "error" not in found, f"{command}\n{printed}"
        return found
