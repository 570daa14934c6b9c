-- For wrk: the request, whose body is the script's argument, and one line of JSON about what came of it.
wrk.method = "POST"
wrk.headers["content-type"] = "application/json"

function init(arguments)
  wrk.body = arguments[1]
end

function done(summary, latency)
  local errors = summary.errors
  io.write(string.format(
    '{"requests":%d,"duration_us":%d,"p50_us":%d,"p99_us":%d,"p999_us":%d,"refused":%d,"broken":%d}\n',
    summary.requests, summary.duration, latency:percentile(50), latency:percentile(99), latency:percentile(99.9), errors.status,
    errors.connect + errors.read + errors.write + errors.timeout
  ))
end
