"""What commands do and say where more than one thing may be meant, or nothing is there: as somebody new types them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from deploying import Project

ONE = '@remote(api, method="GET", path="/version")\ndef version():\n    return 1\n'


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    """A project that is deployed to `production` and `staging`. Tests change nothing of it."""
    project = deployed_twice(tmp_path_factory.mktemp("both"))
    yield project
    project.end()


def deployed_twice(directory: Path) -> Project:
    project = Project(directory)
    project.write(ONE)
    project.flash("deploy")
    project.write(ONE.replace("return 1", "return 2"))
    project.flash("deploy", "--env", "staging")
    return project


@pytest.fixture
def doomed(tmp_path: Path) -> Iterator[Project]:
    """As `both`, for one test, which may change it."""
    project = deployed_twice(tmp_path)
    yield project
    project.end()


def served(project: Project) -> list[str]:
    return sorted(endpoint["environment"] for endpoint in project.json("status"))


@pytest.mark.parametrize("by", ["option", "variable"])
def test_undeploying_one_environment_leaves_the_others(doomed: Project, by: str) -> None:
    option, variable = (["--env", "staging"], {}) if by == "option" else ([], {"FLASH_ENV": "staging"})
    asked = doomed.flash("undeploy", "--app", "shop", *option, code=2, **variable).stderr
    assert "error: Take down environment staging" in asked and "of shop with 1 endpoint?" in asked
    assert ("(FLASH_ENV)" in asked) == (by == "variable")
    unknown = doomed.flash("undeploy", "--app", "shop", "--env", "nope", "--yes", code=1).stderr
    assert "error: no environment `nope`" in unknown and "production, staging" in unknown
    done = doomed.flash("undeploy", "--app", "shop", *option, "--yes", **variable).stdout
    assert done.startswith("Took down environment staging") and done.endswith("of shop; production stays\n")
    assert served(doomed) == ["production"]


@pytest.mark.parametrize("command", [("call", "api", "version"), ("logs", "api"), ("status", "api"), ("undeploy", "api", "--yes")])
def test_a_name_that_several_environments_have_is_asked_about(both: Project, command: tuple[str, ...]) -> None:
    told = both.flash(*command, code=2)
    assert told.stdout == ""
    assert "error: which environment?" in told.stderr
    assert "environment production of app shop, as api\n" in told.stderr
    assert "environment staging of app shop, as api-shop\n" in told.stderr
    assert "--env production" in told.stderr
    assert served(both) == ["production", "staging"]


def test_an_environment_or_a_whole_id_says_which_is_meant(both: Project) -> None:
    for more, answer in ((["--env", "production"], "1\n"), (["--env", "staging"], "2\n")):
        assert both.flash("call", "api", "version", *more).stdout == answer
    assert both.flash("call", "api-shop", "version").stdout == "2\n"
    assert both.flash("call", "api", "version", FLASH_ENV="staging").stdout == "2\n"


def test_the_projects_own_app_goes_before_others_of_the_server(doomed: Project) -> None:
    doomed.flash("undeploy", "--app", "shop", "--env", "staging", "--yes")
    doomed.flash("deploy", FLASH_APP="blog")
    assert doomed.json("status", "api")["app"] == "shop"
    assert doomed.json("status", "api", "--app", "blog")["app"] == "blog"


@pytest.mark.parametrize(("option", "asked"), [("--env", "environment nope"), ("--app", "app nope")])
def test_the_status_of_what_is_not_there_is_an_error_that_lists_what_is(both: Project, option: str, asked: str) -> None:
    told = both.flash("status", option, "nope", code=1)
    assert told.stdout == ""
    assert f"error: no {asked}\n" in told.stderr
    assert "app shop, environment production\n" in told.stderr and "app shop, environment staging\n" in told.stderr
    named = both.flash("status", "api", option, "nope", code=1).stderr
    assert f"{asked} has none of that name" in named and "environment staging of app shop" in named


def test_an_environment_where_nothing_is_deployed_is_none_that_is_unknown(doomed: Project) -> None:
    doomed.flash("env", "create", "empty")
    assert doomed.flash("status", "--env", "empty").stdout.startswith("nothing of environment empty is deployed at ")
