"""The images' digests and copies: docker, Amazon ECR and Pulumi's settings as they behave."""

from __future__ import annotations

import base64
import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from mwaactl import images
from mwaactl.cli.app import app
from mwaactl.errors import CheckFailed, Unreachable, UsageError
from mwaactl.images import KEYS, StackConfig, mirror, pin
from tests.fakes.aws.errors import client_error

HOST = "123456789012.dkr.ecr.eu-west-1.amazonaws.com"
SETTINGS = {
    "marquez_image": "docker.io/marquezproject/marquez:0.51.1",
    "marquez_web_image": "docker.io/marquezproject/marquez-web:0.51.1",
    "postgres_image": "public.ecr.aws/docker/library/postgres:16.11",
    "marquez_image_registry": "",
}
# As docker with buildx 0.30 and two real registries behave; $WORLD has `{"images": {reference: digest},
# "single": [digest], "repositories": [...], "logins": [...]}`.
DOCKER = f"""#!{sys.executable}
import json, os, sys
path = os.environ["WORLD"]
world = json.load(open(path))
arguments = sys.argv[1:]
def end(error=""):
    json.dump(world, open(path, "w"))
    sys.exit(f"ERROR: {{error}}" if error else 0)
if arguments[0] == "login":
    assert arguments[1:4] == ["--username", "AWS", "--password-stdin"], arguments
    if sys.stdin.read() != "a-password":
        end("401 Unauthorized")
    world["logins"].append(arguments[4])
    end()
assert arguments[:2] == ["buildx", "imagetools"], arguments
if arguments[2] == "inspect":
    assert arguments[3:5] == ["--format", "{{{{.Manifest.Digest}}}}"], arguments
    if arguments[5] not in world["images"]:
        end(arguments[5] + ": not found")
    print(world["images"][arguments[5]])
    end()
assert arguments[2] == "create", arguments
same = "--prefer-index=false" in arguments
target, source = arguments[arguments.index("--tag") + 1], arguments[-1]
repository, _, digest = source.partition("@")
known = {{(name.rpartition(":")[0], digest) for name, digest in world["images"].items()}}
known |= {{tuple(each) for each in world["older"]}}
if (repository, digest) not in known:
    end(source + ": not found")
host = target.partition("/")[0]
if ".dkr.ecr." in host:
    if host not in world["logins"]:
        end("no basic auth credentials")
    if target.partition("/")[2].rpartition(":")[0] not in world["repositories"]:
        end("name unknown: the repository does not exist in the registry")
if digest in world["single"] and not same:
    digest = "sha256:" + "f" * 64  # of an index around it
world["images"][target] = digest
end()
"""
PULUMI = f"""#!{sys.executable}
import json, os, sys
path = os.environ["SETTINGS"]
arguments = [each for each in sys.argv[1:] if each != "--non-interactive"]
if arguments == ["version"]:
    print("v3.259.0")
elif arguments[:2] == ["config", "--json"]:
    settings = json.load(open(path))
    shown = {{f"mwaa-openlineage:{{key}}": {{"value": value}} for key, value in settings.items()}}
    print(json.dumps(shown))
else:
    assert arguments[:2] == ["config", "set"] and arguments[4:] == ["--stack", "fullha"], arguments
    settings = json.load(open(path))
    settings[arguments[2]] = arguments[3]
    json.dump(settings, open(path, "w"))
"""


def digest(number: int) -> str:
    return f"sha256:{number:064x}"


class FakeEcr:
    """Of Amazon ECR, what creates a repository and lets docker log in."""

    def __init__(self, world: World) -> None:
        self._world = world

    def create_repository(self, *, repositoryName: str, **options: Any) -> dict[str, Any]:  # noqa: N803
        assert options == {"imageScanningConfiguration": {"scanOnPush": True}}
        if repositoryName in self._world.read()["repositories"]:
            raise client_error("RepositoryAlreadyExistsException")
        self._world.change(lambda world: world["repositories"].append(repositoryName))
        return {}

    def get_authorization_token(self) -> dict[str, Any]:
        token = base64.b64encode(b"AWS:a-password").decode()
        return {"authorizationData": [{"authorizationToken": token, "proxyEndpoint": f"https://{HOST}"}]}


class World:
    """Registries, and a stack's settings."""

    def __init__(self, folder: Path) -> None:
        self._world, self._settings = folder / "world.json", folder / "settings.json"
        tagged = [value for value in SETTINGS.values() if value]
        self._world.write_text(
            json.dumps(
                {
                    "images": {name: digest(number) for number, name in enumerate(tagged)},
                    "older": [],
                    "single": [digest(0), digest(1)],
                    "repositories": [],
                    "logins": [],
                }
            )
        )
        self._settings.write_text(json.dumps(SETTINGS))
        for name, script in (("docker", DOCKER), ("pulumi", PULUMI)):
            (folder / name).write_text(script)
            (folder / name).chmod(0o755)
        (folder / "Pulumi.yaml").write_text("name: mwaa-openlineage\nruntime: python\n")
        self.config = StackConfig.of("fullha", folder)

    def read(self) -> dict[str, Any]:
        world: dict[str, Any] = json.loads(self._world.read_text())
        return world

    def change(self, change: Any) -> None:
        world = self.read()
        change(world)
        self._world.write_text(json.dumps(world))

    def move(self, setting: str, new: str) -> None:
        """Let a tag mean another image; the one before it can still be had by its digest."""

        def moved(world: dict[str, Any]) -> None:
            world["older"].append([SETTINGS[setting].rpartition(":")[0], world["images"][SETTINGS[setting]]])
            world["images"][SETTINGS[setting]] = new

        self.change(moved)

    @property
    def settings(self) -> Mapping[str, str]:
        settings: dict[str, str] = json.loads(self._settings.read_text())
        return settings

    def set(self, **settings: str) -> None:
        self._settings.write_text(json.dumps({**self.settings, **settings}))


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("WORLD", str(tmp_path / "world.json"))
    monkeypatch.setenv("SETTINGS", str(tmp_path / "settings.json"))
    world = World(tmp_path)
    ecr = FakeEcr(world)

    def client(region: str, profile: str | None) -> FakeEcr:
        assert (region, profile) == ("eu-west-1", "ops")
        return ecr

    monkeypatch.setattr(images, "_ecr", client)
    return world


PINNED = {key: f"{SETTINGS[key]}@{digest(number)}" for number, key in enumerate(KEYS)}


def test_pin_writes_the_digests_of_all_images(world: World) -> None:
    result = pin(world.config, renew=False)
    assert world.settings == {**SETTINGS, **PINNED}
    assert [(image.digest, image.before) for image in result.images] == [
        (digest(number), None) for number in range(3)
    ]


def test_pin_verifies_what_is_pinned_and_writes_nothing(world: World) -> None:
    pin(world.config, renew=False)
    result = pin(world.config, renew=False)
    assert all(image.digest == image.before for image in result.images)


def test_a_tag_that_has_moved_is_an_error_and_changes_nothing(world: World) -> None:
    pin(world.config, renew=False)
    world.move("postgres_image", digest(9))
    with pytest.raises(CheckFailed, match=rf"postgres:16.11 is now {digest(9)}.*--renew"):
        pin(world.config, renew=False)
    assert world.settings == {**SETTINGS, **PINNED}
    pin(world.config, renew=True)
    assert world.settings["postgres_image"] == f"{SETTINGS['postgres_image']}@{digest(9)}"


def test_an_image_that_does_not_exist_is_named(world: World) -> None:
    world.set(marquez_image="docker.io/marquezproject/marquez:9")
    with pytest.raises(Unreachable, match="marquezproject/marquez:9: not found"):
        pin(world.config, renew=False)
    assert world.settings["marquez_web_image"] == SETTINGS["marquez_web_image"]


@pytest.mark.parametrize("registry", [HOST, f"{HOST}/mirror", "registry.example/team"])
def test_mirror_copies_every_image_with_its_digest(world: World, registry: str) -> None:
    world.set(marquez_image_registry=registry)
    result = mirror(world.config, "ops", renew=False)
    copies = {
        f"{registry}/marquez:0.51.1": digest(0),
        f"{registry}/marquez-web:0.51.1": digest(1),
        f"{registry}/postgres:16.11": digest(2),
    }
    assert copies.items() <= world.read()["images"].items()
    assert [image.copied_to for image in result.images] == list(copies)
    assert PINNED.items() <= world.settings.items()


def test_mirror_can_be_repeated(world: World) -> None:
    world.set(marquez_image_registry=HOST)
    mirror(world.config, "ops", renew=False)
    before = world.read()["repositories"], world.settings
    mirror(world.config, "ops", renew=False)
    assert (world.read()["repositories"], world.settings) == before


def test_mirror_copies_the_image_that_is_pinned_though_the_tag_has_moved(world: World) -> None:
    pin(world.config, renew=False)
    world.move("marquez_image", digest(9))
    world.set(marquez_image_registry=HOST)
    mirror(world.config, "ops", renew=False)
    assert world.read()["images"][f"{HOST}/marquez:0.51.1"] == digest(0)
    mirror(world.config, "ops", renew=True)
    assert world.read()["images"][f"{HOST}/marquez:0.51.1"] == digest(9)
    assert world.settings["marquez_image"].endswith(digest(9))


def test_without_a_registry_mirror_says_how_to_set_it(world: World) -> None:
    with pytest.raises(UsageError, match=r"pulumi config set marquez_image_registry .* -s fullha"):
        mirror(world.config, "ops", renew=False)


def test_without_docker_the_command_says_what_to_install(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "docker").unlink()
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(Unreachable, match="install Docker with its buildx plugin"):
        pin(world.config, renew=False)


def test_another_project_is_refused(world: World, tmp_path: Path) -> None:
    (tmp_path / "settings.json").write_text('{"region": "x"}')
    with pytest.raises(UsageError, match="has no marquez_image"):
        pin(world.config, renew=False)


def test_the_commands_show_what_is_written_and_what_to_do_next(world: World, tmp_path: Path) -> None:
    def run(*arguments: str) -> Any:
        return CliRunner().invoke(
            app, ["--profile", "ops", "images", *arguments, "-s", "fullha", "-C", str(tmp_path)]
        )

    first = run("pin")
    assert first.exit_code == 0, first.output
    assert f"{digest(0)} (written into the stack's settings)" in first.stdout
    assert "pulumi up -s fullha" in first.stdout
    again = run("pin")
    assert f"{digest(0)} (as in the stack's settings)" in again.stdout
    assert "pulumi up" not in again.stdout
    world.move("marquez_image", digest(9))
    assert run("pin").exit_code == 1
    assert f"{digest(9)} (was {digest(0)})" in run("pin", "--renew").stdout
    world.set(marquez_image_registry=HOST)
    copied = json.loads(run("mirror", "--json").stdout)["images"]
    assert copied[0]["copied_to"] == f"{HOST}/marquez:0.51.1"
    assert f"copied to {HOST}/postgres:16.11" in run("mirror").stdout
