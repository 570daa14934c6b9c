"""A function that prints far more than its script's output takes at once: `python flood.py FILE MEBIBYTES`."""

import sys

from runpod_flash import LiveLoadBalancer, remote

api = LiveLoadBalancer(name="flood")


@remote(api, method="POST", path="/flood")
def flood(progress, mebibytes):
    for number in range(1, mebibytes + 1):
        print(f"{number:07} {'x' * 119}\n" * (1 << 13), end="")
        with open(progress, "w") as file:
            file.write(str(number))


if __name__ == "__main__":
    flood(sys.argv[1], int(sys.argv[2]))
