"""Runs by itself each minute, and by GET /tick.

The schedule is in `fn.config.json`. `event["context"]["trigger"]` says what started the run; it is absent in a call.
"""

from datetime import datetime


def handler(event):
    now = datetime.fromtimestamp(event["ts"] / 1000).astimezone()
    trigger = event["context"].get("trigger") or {}
    started_by = trigger.get("type", "call")
    print(f"tick at {now:%H:%M:%S}, started by {started_by}")
    return {"ticked_at": now.isoformat(), "started_by": started_by}
