from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from local.home import Home
from tests.engine.deployment import LocalCloud, Project


@pytest.fixture(scope="session")
def cloud() -> Iterator[LocalCloud]:
    """A local cloud of each test process's own; the tools (CLI, MiniStack) are those of `make local`."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MWAA_LOCAL_TOOLS", str(Home.find().tools))
        folder = Path(tempfile.mkdtemp(prefix="engine-"))
        patch.setenv("MWAA_LOCAL_HOME", str(folder / "home"))
        home = Home(folder / "home")
        cloud = LocalCloud(home, {})  # so that what has started is ended when a later part does not
        try:
            yield LocalCloud.start(home)
        finally:
            cloud.stop()
            shutil.rmtree(folder)


@pytest.fixture
def clean() -> Iterator[ExitStack]:
    """Ends what a test has started."""
    with ExitStack() as stack:
        yield stack


@pytest.fixture
def program(cloud: LocalCloud, tmp_path: Path) -> Iterator[Callable[[str], Project]]:
    """Makes a project of a few lines; a later call changes the program. It is destroyed at the end."""
    made: list[Project] = []

    def make(text: str) -> Project:
        if made:
            (tmp_path / "__main__.py").write_text(text)
        else:
            made.append(Project.of_program(cloud, tmp_path, text))
        return made[0]

    yield make
    for project in made:
        project.run("destroy", "--yes", "--skip-preview")
        project.run("stack", "rm", "--yes", "--force")
