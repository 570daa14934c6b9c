"""A program that deploys its own endpoint, calls it and takes it down, against the real `flash serve`."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from flash_process import PATIENCE, ROOT, environment_of
from serve_process import Server

PROGRAM = """
import asyncio
import user_service as service
from runpod_flash import DeploymentFailed, EndpointNotDeployed, LoadBalancerSlsStub

async def main():
    assert not await service.api.is_deployed()
    try:
        service.list_users()
    except EndpointNotDeployed as error:
        print(str(error).splitlines()[0])
    assert await service.api.deploy() is service.api
    assert await service.api.is_deployed()
    print(service.api.id, service.api.endpoint_url)
    made = await service.create_user("Eve", email="eve@example.com")
    print(made, service.get_user(made["id"]) == made, service.list_users()["users"][-1] == made)
    print(LoadBalancerSlsStub(service.api, timeout=10).call(service.get_user, 1)["name"])
    print(await service.api.undeploy())
    assert not await service.api.is_deployed()
    open(service.__file__, "a").write("\\nraise RuntimeError('broken')\\n")
    try:
        await service.api.deploy()
    except DeploymentFailed as error:
        print("broken" in error.output)

asyncio.run(main())
"""


def test_a_program_deploys_calls_and_takes_down_its_endpoint(server: Callable[..., Server], tmp_path: Path) -> None:
    flash = server()
    project = tmp_path / "shop"
    project.mkdir()
    shutil.copy(ROOT / "examples/guide/user_service.py", project)
    (project / "main.py").write_text(PROGRAM)
    environment = environment_of(flash.mark, FLASH_HOME=str(flash.home))
    done = subprocess.run(
        [sys.executable, project / "main.py"], env=environment, capture_output=True, text=True, timeout=PATIENCE * 3, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        "Endpoint URL not available - endpoint may not be deployed",
        f"user-service http://127.0.0.1:{flash.port}/lb/user-service",
        "{'id': 3, 'name': 'Eve', 'email': 'eve@example.com'} True True",
        "Alice",
        "{'success': True, 'endpoint': 'user-service', 'app': 'shop', 'environment': 'production'}",
        "True",
    ]


ONE_OF_TWO = """
import asyncio
import sys
from pathlib import Path

from runpod_flash import DeploymentFailed, LoadBalancerSlsResource, remote

{name} = LoadBalancerSlsResource(name="{name}", imageName="image")


@remote({name}, method="GET", path="/name")
def name() -> str:
    return "{name}"


async def deploy(**options):
    try:
        await {name}.deploy(**options)
    except DeploymentFailed as error:
        print(error)
    else:
        print(name())


if __name__ == "__main__":
    asyncio.run(deploy(remove="remove" in sys.argv))
"""


def test_a_program_deploys_the_whole_project_that_it_belongs_to(server: Callable[..., Server], tmp_path: Path) -> None:
    flash = server()
    project = tmp_path / "shop"
    (project / "inner").mkdir(parents=True)
    (project / "one.py").write_text(ONE_OF_TWO.format(name="one"))
    (project / "inner/two.py").write_text(ONE_OF_TWO.format(name="two"))

    def run(file: str, *arguments: str, **more: str) -> tuple[list[str], str]:
        environment = environment_of(flash.mark, FLASH_HOME=str(flash.home), **more)
        done = subprocess.run(
            [sys.executable, project / file, *arguments], env=environment, capture_output=True, text=True, timeout=PATIENCE * 3, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.splitlines(), done.stderr

    def deployed() -> set[str]:
        return {endpoint["name"] for endpoint in flash.endpoints().values()}

    # A file that belongs to no project is deployed by itself, and takes nothing down unless it is told to.
    assert run("one.py") == (["one"], "")
    assert run("inner/two.py", FLASH_APP="shop")[0] == [
        "cannot deploy 'two': this would take down one",
        "  why: the app has what is not in the project, or in the file where that belongs to none",
        "  try: have all of the app in one project (a folder with a flash.toml), or agree to it: deploy(remove=True)",
    ]
    assert deployed() == {"one"}
    assert run("inner/two.py", "remove", FLASH_APP="shop")[0] == ["two"]
    assert deployed() == {"two"}

    (project / "flash.toml").write_text('app = "shop"\n')
    assert run("inner/two.py")[0] == ["two"]
    assert deployed() == {"one", "two"}
    assert run("one.py")[0] == ["one"]
    assert deployed() == {"one", "two"}

    (project / "tests").mkdir()
    (project / "inner/two.py").rename(project / "tests/two.py")
    (what, why, _), _ = run("tests/two.py", "remove")
    assert what == "the project was deployed, and 'two' is not in it"
    assert "tests, hidden and ignored files" in why
    assert deployed() == {"one"}


def test_who_deploys_by_a_program_sees_what_happens_meanwhile(server: Callable[..., Server], tmp_path: Path) -> None:
    flash = server()
    program = ONE_OF_TWO.format(name="one") + "else:\n    import time\n    time.sleep(1.5)\n"
    (tmp_path / "one.py").write_text(program)
    environment = environment_of(flash.mark, FLASH_HOME=str(flash.home), FLASH_APP="shop")
    command = [sys.executable, tmp_path / "one.py"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=PATIENCE * 3, check=False)
    assert (done.stdout, done.stderr) == ("one\n", "  starting one\n")
