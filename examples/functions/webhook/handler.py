"""POST /webhook: an event of another service, taken only with a right signature.

The sender signs the body with a secret that both sides know (`fn.env.json`) and sends it in the header
`x-signature: sha256=<hex>`. `fn.config.json` says that only POST is allowed.
"""

import base64
import hashlib
import hmac
import json


def handler(event):
    body = raw_body(event)
    expected = "sha256=" + hmac.new(event["env"]["WEBHOOK_SECRET"].encode(), body, hashlib.sha256).hexdigest()
    given = event["headers"].get("x-signature", "")
    # compare_digest takes the same time for every wrong signature, so that nobody can guess it byte by byte.
    if not isinstance(given, str) or not hmac.compare_digest(given.encode(), expected.encode()):
        return {"status": 401, "body": {"error": "wrong signature"}}
    try:
        order = json.loads(body)
    except ValueError:
        return {"status": 400, "body": {"error": "the body is not JSON"}}
    return {"status": 202, "body": {"accepted": order}}


def raw_body(event):
    """Return the body's bytes: it comes as text when it is text, else as base64."""
    if event.get("is_base64"):
        return base64.b64decode(event["body_base64"])
    return (event.get("body") or "").encode()
