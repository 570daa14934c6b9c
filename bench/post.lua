-- For wrk: the request, and one line of JSON about what came of it.
wrk.method = "POST"
wrk.body = '{"x":5,"y":3}'
wrk.headers["content-type"] = "application/json"

function done(summary, latency)
  local errors = summary.errors
  io.write(string.format(
    '{"requests":%d,"duration_us":%d,"p50_us":%d,"p99_us":%d,"refused":%d,"broken":%d}\n',
    summary.requests, summary.duration, latency:percentile(50), latency:percentile(99), errors.status,
    errors.connect + errors.read + errors.write + errors.timeout
  ))
end
