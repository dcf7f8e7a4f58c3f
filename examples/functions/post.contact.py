"""POST /contact: a form, as a browser sends it.

Bodies are never parsed for you: `event["body"]` is the text as it came.
Try: curl -d 'name=Ada&message=Hi' localhost:8080/contact
"""

from html import escape
from urllib.parse import parse_qs


def handler(event):
    form = parse_qs(event.get("body") or "")
    name = form.get("name", [""])[0].strip()
    message = form.get("message", [""])[0].strip()
    if not name or not message:
        return {"status": 422, "body": {"error": "name and message are needed"}}
    # What is printed goes into the execution's log, never into the answer.
    print(f"message of {len(message)} characters from {name}")
    return {
        "status": 201,
        "headers": {"content-type": "text/html; charset=utf-8"},
        "body": f"<!doctype html><p>Thank you, {escape(name)}.</p>",
    }
