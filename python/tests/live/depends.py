"""Functions of one endpoint, of which some depend on packages that this interpreter lacks."""

from runpod_flash import LiveLoadBalancer, remote

import sys

api = LiveLoadBalancer(name="depends")
calls = 0


@remote(api, method="GET", path="/plain")
def plain() -> int:
    global calls
    calls += 1
    return calls


@remote(api, method="GET", path="/one", dependencies=["flash_made_one"])
def one() -> object:
    import flash_made_base
    import flash_made_one
    import pydantic  # which this interpreter has

    assert pydantic.VERSION
    return flash_made_one.VERSION, flash_made_base.VERSION, plain()


async def later() -> object:
    @remote(api, method="GET", path="/two", dependencies=["flash_made_two"])
    async def two() -> object:
        import flash_made_one
        import flash_made_two

        return flash_made_one.VERSION, flash_made_two.VERSION

    return await two()


if __name__ == "__main__":
    import asyncio

    for name in sys.argv[1:]:
        value = asyncio.run(later()) if name == "later" else globals()[name]()
        print(name, value, flush=True)
