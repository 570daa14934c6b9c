"""The function lives in the second file, its argument's class in the script: a worker loads both, the script when it is first named."""

import sys

from service import known_here

from runpod_flash import LiveLoadBalancer, remote

api = LiveLoadBalancer(name="script")


class Own:
    pass


@remote(api, method="POST", path="/main-is-this")
def main_is_this():
    return sys.modules["__main__"].Own is Own, __name__


if __name__ == "__main__":
    back, module = known_here(Own())
    assert type(back) is Own and module == "__mp_main__", (back, module)
    assert main_is_this() == (True, "__mp_main__")
    print("identity kept")
