-- wrk: submit a job with each request.
wrk.method = "POST"
wrk.body = '{"name":"hello-python"}'
wrk.headers["Content-Type"] = "application/json"
