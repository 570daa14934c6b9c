"""Run by pytest in both of its import modes."""

import sys
from dataclasses import dataclass

import pytest

from runpod_flash import LiveLoadBalancer, remote

api = LiveLoadBalancer(name="project")
seen = []


@dataclass
class Point:
    x: int


class NotThere(Exception):
    pass


@remote(api, method="POST", path="/count")
def count(step):
    seen.append(step)
    return len(seen)


@remote(api, method="POST", path="/check")
def check(value, kind):
    if value is None:
        raise NotThere(1, 2)
    return type(value) is (Point if kind == "Point" else kind), Point(2)


def test_state_of_the_test_module():
    assert [count(step) for step in "abc"] == [1, 2, 3]
    assert seen == []


def test_classes_of_the_test_module():
    known, back = check(Point(1), "Point")
    assert known and type(back) is Point


def test_classes_of_the_conftest():
    conftest = next(module for name, module in list(sys.modules.items()) if name.split(".")[-1] == "conftest")
    thing = conftest.FromConftest()
    assert check(thing, conftest.FromConftest)[0]


def test_exceptions_of_the_test_module():
    with pytest.raises(NotThere) as raised:
        check(None, None)
    assert raised.value.args == (1, 2)


def test_output_reaches_capsys(capsys):
    @remote(api, method="POST", path="/say")
    def say():
        print("said in the worker")

    say()
    assert capsys.readouterr().out == "said in the worker\n"
