"""GET /slow?seconds=0.5: a function that takes its time.

`fn.config.json` allows one second. A call that takes longer is answered 504, and its process is dead by then.
"""

import time


def handler(event):
    seconds = float(event["query"].get("seconds", 0.2))
    time.sleep(seconds)
    return {"slept": seconds}
