"""What functions raise that does not let itself be looked at. Each call is answered all the same."""

from runpod_flash import CannotCarry, LiveLoadBalancer, RemoteError, remote

api = LiveLoadBalancer(name="resisting")


class Leaves(Exception):
    def __init__(self):
        self.open = (one for one in "what cannot travel")

    def __reduce__(self):
        raise SystemExit("by __reduce__")

    def __str__(self):
        raise SystemExit("by __str__")


class Interrupts:
    def __eq__(self, other):
        raise KeyboardInterrupt

    __hash__ = None


class Nowhere(Exception):
    __module__ = []  # noqa: RUF012


class Recurses(Exception):
    def __getattr__(self, name):
        return getattr(self, name + "_")


class Uncaused(Exception):
    @property
    def __cause__(self):
        raise SystemExit("by __cause__")


class Text(str):
    def __reduce__(self):
        raise SystemExit("by the text")


class Worded(Exception):
    def __init__(self, text):
        self.open = (one for one in text)

    def __str__(self):
        return Text("worded")


class Result:
    def __reduce__(self):
        raise SystemExit("by the result")


@remote(api, method="POST", path="/raise")
def throw(kind, *args):
    raise globals()[kind](*args)


@remote(api, method="POST", path="/unequal")
def unequal():
    raise ValueError(Interrupts())


@remote(api, method="POST", path="/syntax")
def bad_rule():
    raise SyntaxError("bad rule", ("rules.txt", 1, 1, 5))


@remote(api, method="POST", path="/from")
async def from_one():
    raise ValueError("outside") from Leaves()


@remote(api, method="POST", path="/result")
def resisting_result():
    return Result()


def raised(function, *args):
    try:
        function(*args)
    except BaseException as error:
        return error
    raise AssertionError(f"{function.__name__} raised nothing")


def main():
    import asyncio

    for kind in (Leaves, Nowhere, Recurses, Uncaused):
        error = raised(throw, kind.__name__)
        assert type(error) in (kind, RemoteError), (kind, repr(error))
    error = raised(throw, "Leaves")
    assert type(error) is RemoteError and error.type_name == "Leaves", repr(error)
    assert error.message == "<no text: __str__ raised SystemExit>", error.message
    error = raised(throw, "Worded", "x")
    assert type(error) is RemoteError and error.message == "worded" and type(error.message) is str, repr(error)
    error = raised(unequal)
    assert type(error) in (ValueError, RemoteError), repr(error)
    error = raised(bad_rule)
    assert type(error) is SyntaxError and error.args == ("bad rule", ("rules.txt", 1, 1, 5)), repr(error)
    assert "in bad_rule" in str(error.__cause__) and "SyntaxError: bad rule" in str(error.__cause__), error.__cause__
    error = raised(lambda: asyncio.run(from_one()))
    assert type(error) is ValueError and type(error.__cause__) is RemoteError, repr(error)
    assert error.__cause__.type_name == "Leaves"
    error = raised(resisting_result)
    assert type(error) is CannotCarry and "Result" in str(error), repr(error)
    print("all answered")


if __name__ == "__main__":
    main()
