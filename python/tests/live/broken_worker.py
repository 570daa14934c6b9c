"""A module that raises where a worker imports it, and not where it runs."""

from runpod_flash import LiveLoadBalancer, remote

api = LiveLoadBalancer(name="broken")

if __name__ != "__main__":
    raise ZeroDivisionError("only in the worker")


@remote(api, method="POST", path="/f")
def f():
    return 1


if __name__ == "__main__":
    try:
        f()
    except ZeroDivisionError as e:
        assert "broken_worker.py" in str(e.__cause__) and "importlib" not in str(e.__cause__), e.__cause__
        print(e)
