"""GET /fail?how=value: what failures look like from outside.

The caller gets the message, the stack goes into the execution record. Whatever happens here, the next call works.
"""

import os


def handler(event):
    how = event["query"].get("how")
    if how == "value":
        raise ValueError("that is not a number")  # 400: the caller's fault
    if how == "missing":
        raise FileNotFoundError("no such report")  # 404
    if how == "exit":
        os._exit(3)  # 502: the process died before it answered
    raise RuntimeError("this function always fails")  # 500
