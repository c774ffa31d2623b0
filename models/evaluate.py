"""Judge trained models on held-out clips: `python -m models.evaluate vae --run DIR --data SHARDS`.

What is measured stands in `models/vae/judge.py` and `models/dit/judge.py`.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from models.clip_index import find_shards
from models.dit.judge import evaluate_dit
from models.vae.judge import evaluate_vae


def main(arguments: Sequence[str] | None = None) -> int:
    """The program; returns its exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m models.evaluate", description="Judge trained models on held-out clips.",
        epilog="example: python -m models.evaluate vae --run runs/vae --data data/shards",
    )  # fmt: skip
    parser.add_argument("what", choices=("vae", "dit"))
    parser.add_argument("--run", type=Path, required=True, help="folder of the run")
    parser.add_argument("--vae", type=Path, help="folder of the VAE run, for a generator")
    parser.add_argument("--data", nargs="+", type=Path, required=True, help="shards or folders")
    parser.add_argument("--out", type=Path, required=True, help="JSON file to write")
    parser.add_argument("--metric-weights", type=Path, help="folder with LPIPS and I3D weights")
    parser.add_argument("--peers", nargs="*", type=Path, default=[], help="diffusers VAE folders")
    options = parser.parse_args(arguments)
    shards = find_shards(*options.data)
    if options.what == "vae":
        result = evaluate_vae(
            options.run, shards, metric_weights=options.metric_weights, peers=options.peers
        )
    elif options.vae is None:
        parser.error("a generator needs --vae")
    else:
        result = evaluate_dit(
            options.run, options.vae, shards, metric_weights=options.metric_weights
        )
    options.out.write_text(json.dumps(result, indent=1))
    sys.stdout.write(json.dumps(result["metrics"], indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
