"""What functions raise, and what a caller gets, in a script."""

import sys
import threading

from pydantic import TypeAdapter, ValidationError

from runpod_flash import LiveLoadBalancer, RemoteError, remote

api = LiveLoadBalancer(name="errors")


class UserNotFound(Exception):
    pass


class Computed(Exception):
    """Its `args` are not what its `__init__` takes."""

    def __init__(self, user, *, code):
        super().__init__(f"{user} failed with {code}")
        self.user, self.code = user, code


class Open(Exception):
    """Holds what cannot travel."""

    def __init__(self, text):
        super().__init__(text)
        self.lock = threading.Lock()


@remote(api, method="POST", path="/not-found")
def not_found():
    raise UserNotFound("User 3 not found", 3)


@remote(api, method="POST", path="/caused")
async def caused():
    try:
        {}["key"]
    except KeyError as error:
        raise UserNotFound("no key") from error


@remote(api, method="POST", path="/computed")
def computed():
    raise Computed("eve", code=7)


@remote(api, method="POST", path="/open")
def holds_a_lock():
    raise Open("left open")


@remote(api, method="POST", path="/os")
def missing_file():
    open("/no/such/file")


@remote(api, method="POST", path="/unicode")
def undecodable():
    b"\xff".decode()


@remote(api, method="POST", path="/exit")
def leave(code):
    sys.exit(code)


@remote(api, method="POST", path="/interrupt")
async def interrupt():
    raise KeyboardInterrupt("by the function")


@remote(api, method="POST", path="/group")
def grouped():
    raise ExceptionGroup("two", [UserNotFound(1), ValueError(2)])


@remote(api, method="POST", path="/mixed-group")
def mixed_group():
    raise ExceptionGroup("three", [Computed("eve", code=7), Open("left open"), ExceptionGroup("inner", [Computed("bob", code=1)])])


@remote(api, method="POST", path="/invalid")
def invalid():
    TypeAdapter(int).validate_python("x")


@remote(api, method="POST", path="/stop")
def stop():
    raise StopIteration(4)


def raised(function, *args):
    try:
        function(*args)
    except BaseException as error:
        return error
    raise AssertionError(f"{function.__name__} raised nothing")


def awaited(function):
    import asyncio

    return asyncio.run(function())


def main():
    try:
        not_found()
    except UserNotFound as e:
        assert e.args == ("User 3 not found", 3)
        assert "raise UserNotFound" in str(e.__cause__) and "runpod_flash" not in str(e.__cause__), e.__cause__

    error = raised(awaited, caused)
    assert type(error) is UserNotFound and type(error.__cause__) is KeyError
    assert "direct cause" in str(error.__cause__.__cause__)
    assert error.__cause__.__cause__.__cause__ is None

    error = raised(computed)
    assert type(error) is Computed and error.args == ("eve failed with 7",) and (error.user, error.code) == ("eve", 7)

    error = raised(holds_a_lock)
    assert type(error) is RemoteError and error.type_name == "Open" and error.message == "left open", repr(error)
    assert "raise Open" in error.traceback and "raise Open" in str(error.__cause__)

    error = raised(missing_file)
    assert type(error) is FileNotFoundError and error.filename == "/no/such/file"
    assert type(raised(undecodable)) is UnicodeDecodeError
    error = raised(leave, 5)
    assert type(error) is SystemExit and error.code == 5
    assert type(raised(awaited, interrupt)) is KeyboardInterrupt
    error = raised(stop)
    assert type(error) is StopIteration and error.value == 4
    error = raised(invalid)
    assert type(error) is ValidationError and error.errors()[0]["type"] == "int_parsing", repr(error)
    if sys.version_info >= (3, 11):
        error = raised(mixed_group)
        one, other, inner = error.exceptions
        assert type(error) is ExceptionGroup and type(one) is Computed and one.code == 7
        assert type(other) is RemoteError and other.type_name == "Open"
        assert type(inner) is ExceptionGroup and inner.exceptions[0].user == "bob"
        error = raised(grouped)
        assert type(error) is ExceptionGroup and [type(one) for one in error.exceptions] == [UserNotFound, ValueError]
    print("as they were raised")


if __name__ == "__main__":
    main()
