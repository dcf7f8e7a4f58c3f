"""GET /ticks?count=5&seconds=0.5: server-sent events; try it with `curl -N`.

A generator is sent as it yields: the first event leaves at once. When the client goes away, the generator is closed.
"""

import time


def handler(event):
    count = min(int(event["query"].get("count", 5)), 100)
    seconds = min(float(event["query"].get("seconds", 0.5)), 5)
    headers = {"Content-Type": "text/event-stream", "Cache-Control": "no-store"}
    return {"headers": headers, "body": ticks(count, seconds)}


def ticks(count, seconds):
    for number in range(1, count + 1):
        if number > 1:
            time.sleep(seconds)
        yield f"event: tick\ndata: {number}\n\n"
