"""What the bench is told of a turn at a queue: the line of JSON that `bench/src/bin/jobs-load.rs` writes as well."""

import json


def told(seconds: float, times: list[float]) -> str:
    """`times`: from the submission of each job to its end."""
    ordered = sorted(times)

    def at(part: float) -> int:
        return round(ordered[min(int(len(ordered) * part), len(ordered) - 1)] * 1e6)

    return json.dumps({"count": len(times), "seconds": seconds, "p50_us": at(0.5), "p99_us": at(0.99), "p999_us": at(0.999)})
