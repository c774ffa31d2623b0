"""The deployment files parse, name programs that exist, and open nothing to the network."""

import re
import shlex
import sys
from pathlib import Path

import pytest
import yaml

DOCKER = Path(__file__).parents[1] / "docker"
RAY_JOBS = sorted((DOCKER / "kuberay").glob("*.yaml"))


@pytest.fixture(scope="module")
def compose():
    return yaml.safe_load((DOCKER / "compose.yaml").read_text())


def test_services_depend_on_each_other_and_use_declared_volumes(compose):
    services, volumes = compose["services"], set(compose["volumes"])
    for name, service in services.items():
        assert set(service.get("depends_on", ())) <= set(services) - {name}
        named = {v.split(":")[0] for v in service.get("volumes", ())}
        assert {v for v in named if not v.startswith(".")} <= volumes
        for mounted in named - volumes:
            assert (DOCKER / mounted).exists()


def test_every_published_port_is_on_the_loopback_address(compose):
    ports = [port for s in compose["services"].values() for port in s.get("ports", ())]
    assert ports
    assert all(port.startswith("127.0.0.1:") for port in ports)


def test_no_password_stands_in_a_file():
    for path in DOCKER.rglob("*"):
        if path.is_file() and path.name != ".env":
            for line in path.read_text().splitlines():
                secret = re.search(r"(?i)(password|secret_access_key)\s*[:=]\s*(\S+)", line)
                if secret:
                    assert secret.group(2).startswith(("$", "{env:")), f"{path.name}: {line}"


def test_the_environment_of_the_example_is_what_compose_asks_for():
    asked = set(re.findall(r"\$\{(\w+)", (DOCKER / "compose.yaml").read_text()))
    lines = (DOCKER / "example.env").read_text().splitlines()
    assert {line.partition("=")[0] for line in lines if "=" in line} == asked


def test_commands_name_programs_of_the_environment(compose):
    commands = [
        s["command"] for n, s in compose["services"].items() if n != "store" and "command" in s
    ]
    commands += [yaml.safe_load(path.read_text())["spec"]["entrypoint"] for path in RAY_JOBS]
    for command in commands:
        program = command[0] if isinstance(command, list) else shlex.split(command)[0]
        assert Path(sys.executable).with_name(program).exists(), program


def test_the_variables_of_the_workspace_are_those_that_are_read(compose):
    read = set()
    for path in (DOCKER.parent / "orchestration").glob("*.py"):
        read |= set(re.findall(r"ISA4D_\w+", path.read_text()))
    environment = compose["x-isa4d"]["environment"]
    assert {name for name in environment if name.startswith("ISA4D_")} <= read


def test_dagster_accepts_both_instances(monkeypatch, tmp_path):
    from dagster._core.instance.config import dagster_instance_config

    for name in ("POSTGRES_HOST", "POSTGRES_USER", "POSTGRES_PASSWORD", "POSTGRES_DB"):
        monkeypatch.setenv(name, "x")
    for source in (DOCKER / "dagster.yaml", DOCKER.parent / "orchestration" / "dagster.yaml"):
        folder = tmp_path / source.parent.name
        folder.mkdir()
        (folder / "dagster.yaml").write_text(source.read_text())
        config, _ = dagster_instance_config(str(folder))
        assert config["concurrency"]["pools"]["default_limit"] == 1


@pytest.mark.parametrize("path", RAY_JOBS, ids=lambda path: path.stem)
def test_ray_jobs_run_the_ray_that_is_locked(path):
    job = yaml.safe_load(path.read_text())
    assert (job["apiVersion"], job["kind"]) == ("ray.io/v1", "RayJob")
    cluster = job["spec"]["rayClusterSpec"]
    locked = re.search(
        r"^ray(?:\[[^]]*\])?==(\S+)", (DOCKER.parent / "requirements.txt").read_text(), re.M
    )
    assert locked is not None
    assert cluster["rayVersion"] == locked.group(1)
    for group in [cluster["headGroupSpec"], *cluster["workerGroupSpecs"]]:
        (container,) = group["template"]["spec"]["containers"]
        assert container["resources"]["requests"] == container["resources"]["limits"]


def test_recipes_of_the_manifests_exist():
    from models.recipes import find_recipe

    for path in RAY_JOBS:
        entrypoint = yaml.safe_load(path.read_text())["spec"]["entrypoint"]
        named = re.search(r"models\.train (\w+)", entrypoint)
        if named:
            find_recipe(named.group(1))


@pytest.mark.parametrize("path", sorted(DOCKER.glob("*.Dockerfile")), ids=lambda path: path.stem)
def test_images_install_the_lock_and_run_without_root(path):
    lines = path.read_text().replace("\\\n", " ").splitlines()
    words = [line.split(None, 1) for line in lines if line and not line.startswith("#")]
    assert words[0][0] == "FROM"
    text = path.read_text()
    assert "--require-hashes -r requirements.txt" in text
    assert text.index("USER isa4d") > text.rindex("RUN ")
    packages = (DOCKER / "install_system.sh").read_text().split("packages=(")[1].split(")")[0]
    assert set(packages.split()) <= set(text.split())
