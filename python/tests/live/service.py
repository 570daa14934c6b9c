"""The second file of `two_files.py`."""

from runpod_flash import LiveLoadBalancer, remote

api = LiveLoadBalancer(name="service")


@remote(api, method="POST", path="/known-here")
def known_here(value):
    return value, type(value).__module__
