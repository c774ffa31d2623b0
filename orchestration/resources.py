"""What the assets share: the data root, and how many Ray actors the data stages use."""

from pathlib import Path

import dagster as dg
from pydantic import Field

from models.training.mirror import local_run
from storage_schemas.store import Store


class Workspace(dg.ConfigurableResource):
    """The data root of this deployment."""

    root: str = Field(
        description="A folder, or s3://bucket/prefix; credentials come from the environment alone."
    )
    runs: str = Field(description="Folder of trainings, or s3://bucket/prefix.")
    footage: str = Field(
        default="",
        description="Folder or s3 prefix that the sensor new_footage watches; empty for none.",
    )
    workers: int = Field(
        default=0, description="Ray actors per data stage; 0 works in the run's own process."
    )

    @property
    def store(self) -> Store:
        """The bytes."""
        return Store(self.root)

    def place(self, name: str) -> str:
        """Where one training or the films lie: a folder, or an s3 prefix."""
        return f"{self.runs.rstrip('/')}/{name}"

    def choose_run(self, model: str, name: str) -> None:
        """Make a finished training the one that others use for `model`."""
        Store(self.runs).write(f"{model}.run", name.encode())

    def chosen_run(self, model: str) -> Path:
        """Folder of the training that was chosen last, brought here where it lies on S3.

        Raises:
            ValueError: If none was.
        """
        try:
            name = Store(self.runs).read(f"{model}.run").decode()
        except FileNotFoundError:
            raise ValueError(
                f"no finished training of {model} in {self.runs}; materialize {model} first"
            ) from None
        return local_run(self.place(name))
