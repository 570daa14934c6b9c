"""What is defined under `if __name__ == "__main__":` is not there for a worker."""

from runpod_flash import CannotCarry, FunctionNotFound, LiveLoadBalancer, remote

api = LiveLoadBalancer(name="under-main")


@remote(api, method="POST", path="/echo")
def echo(value):
    return value


if __name__ == "__main__":

    class Point:
        pass

    @remote(api, method="POST", path="/process")
    def process_data():
        return 1

    try:
        echo(Point())
    except CannotCarry as e:
        assert "Point" in str(e) and "__main__" in str(e), e
    else:
        raise AssertionError("the worker has no Point")
    try:
        process_data()
    except FunctionNotFound as e:
        print(e.what)
