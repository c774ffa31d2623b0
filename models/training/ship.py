"""Keep the weights of a finished run in the repository: half precision, recipe, log.

`python -m models.training.ship RUN models/weights/NAME --origin "one line: data, steps, seed"`
"""

import argparse
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from models.trained import RECIPE, read_recipe, weights_digest
from models.training.checkpoint import WEIGHTS, load_weights, save_weights
from models.training.metrics import read_metrics

ORIGIN = "ORIGIN.txt"
LOG = "metrics.jsonl"


def ship(run: Path, out: Path, origin: str) -> str:
    """Write weights, recipe, log and origin; returns the digest of the weights.

    float16 halves the file: values move by at most 1 part in 2048. Scalars and integers stay.

    Raises:
        ValueError: If the run is not finished.
    """
    recipe = read_recipe(run)
    weights = load_weights(run)
    out.mkdir(parents=True, exist_ok=True)
    halved = {
        name: w.half() if w.ndim and w.is_floating_point() else w for name, w in weights.items()
    }
    digest = save_weights(out / WEIGHTS, halved)
    shutil.copyfile(run / RECIPE, out / RECIPE)
    shutil.copyfile(run / LOG, out / LOG)
    validations = [r for r in read_metrics(run / LOG) if any(n.startswith("val_") for n in r)]
    last = validations[-1] if validations else {}
    numbers = ", ".join(f"{name} {value:.4g}" for name, value in last.items())
    lines = [
        origin,
        f"recipe {recipe.name}, seed {recipe.seed}",
        numbers,
        f"from {weights_digest(run)}",
    ]
    (out / ORIGIN).write_text("\n".join(lines) + "\n")
    return digest


def main(arguments: Sequence[str] | None = None) -> int:
    """The program; returns its exit code."""
    parser = argparse.ArgumentParser(prog="python -m models.training.ship", description=__doc__)
    parser.add_argument("run", type=Path, help="folder of a finished run")
    parser.add_argument("out", type=Path, help="folder in models/weights")
    parser.add_argument("--origin", required=True, help="one line: data, steps, machine")
    options = parser.parse_args(arguments)
    digest = ship(options.run, options.out, options.origin)
    sys.stdout.write(f"weights {digest} in {options.out}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
