"""`python -m shop`: relative imports, and classes of the package and of `__main__`."""

import sys

package_came_first = "shop" in sys.modules

from runpod_flash import LiveLoadBalancer, remote

from .things import NoSuchThing, Thing

api = LiveLoadBalancer(name="shop")
spec_name, package = __spec__.name, __package__


class Own(Thing):
    pass


@remote(api, method="POST", path="/thing")
def thing(value):
    if value.name == "none":
        raise NoSuchThing(value.name)
    return type(value) is Own, Own("back"), Thing("back"), spec_name, package, sys.argv[1:], package_came_first


if __name__ == "__main__":
    known, own, other, name, parent, argv, first = thing(Own("there"))
    assert known and type(own) is Own and type(other) is Thing
    assert first
    assert (name, parent, argv) == ("shop.__main__", "shop", ["an", "argument"]), (name, parent, argv)
    try:
        thing(Own("none"))
    except NoSuchThing as e:
        assert e.args == ("none",)
    print("identity kept")
