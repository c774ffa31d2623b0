"""What the assets share: the data root, and how many Ray actors the data stages use."""

from pathlib import Path

import dagster as dg

from storage_schemas.store import Store


class Workspace(dg.ConfigurableResource):
    """The data root of this deployment."""

    root: str
    """A folder, or s3://bucket/prefix; credentials come from the environment alone."""
    runs: str
    """Folder of trainings and films."""
    footage: str = ""
    """Folder or s3 prefix that the sensor `new_footage` watches; empty for none."""
    workers: int = 0
    """Ray actors per data stage; 0 works in the run's own process."""

    @property
    def store(self) -> Store:
        """The bytes."""
        return Store(self.root)

    def folder(self, name: str) -> Path:
        """Folder of one training or of the films."""
        return Path(self.runs) / name

    def choose_run(self, model: str, folder: Path) -> None:
        """Make a finished training the one that others use for `model`."""
        (Path(self.runs) / f"{model}.run").write_text(folder.name)

    def chosen_run(self, model: str) -> Path:
        """Folder of the training that was chosen last.

        Raises:
            ValueError: If none was.
        """
        pointer = Path(self.runs) / f"{model}.run"
        if not pointer.is_file():
            raise ValueError(f"no finished training of {model} in {self.runs}; materialize {model}")
        return Path(self.runs) / pointer.read_text()
