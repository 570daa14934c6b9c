"""Makes a call when no further file can be opened."""

import os
import resource

from runpod_flash import LiveLoadBalancer, SessionError, _session, remote

api = LiveLoadBalancer(name="out-of-files")
calls = 0


@remote(api, method="POST", path="/count")
def count():
    global calls
    calls += 1
    return calls


def main():
    assert count() == 1
    _session.current().pool.close()
    resource.setrlimit(resource.RLIMIT_NOFILE, (64, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
    held = []
    try:
        while True:
            held.append(os.open(os.devnull, os.O_RDONLY))
    except OSError:
        pass
    try:
        count()
    except SessionError as error:
        told = str(error)
    finally:
        for descriptor in held:
            os.close(descriptor)
    assert count() == 2
    print(told)


if __name__ == "__main__":
    main()
