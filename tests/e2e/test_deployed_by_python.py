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
