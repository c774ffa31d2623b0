"""The `isa4d` command: one subcommand per step of the path, thin calls into the packages.

Every command ends with one summary line whose counts add up, prints JSON instead with --json, and
exits with 0 only on success. Heavy packages load inside the commands, so that --help is quick.
"""

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from orchestration.commands.data import (
    accept,
    annotate,
    ingest,
    pack,
    publish,
    reject,
    render,
    review,
    view,
)
from orchestration.commands.dataset import dataset_app
from orchestration.commands.model import encode, evaluate_app, generate, train
from orchestration.commands.output import Json, finish

os.environ.setdefault("RAY_AUTH_MODE", "disabled")  # Ray 2.60 turns token auth on by itself
os.environ.setdefault("WDS_SECURE", "1")
os.environ.setdefault("GLOG_minloglevel", "2")  # MediaPipe's chatter about its own graphs
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

app = typer.Typer(
    help="4D human video generation that anyone can train from raw footage.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)


def doctor(as_json: Json = False) -> None:
    """What is here, what is missing, and how to get it.

    Example: isa4d doctor
    """
    from orchestration.doctor import examine

    findings = examine()
    missing = [finding for finding in findings if finding.is_needed and not finding.is_fine]
    if not as_json:
        for finding in findings:
            mark = "ok  " if finding.is_fine else "MISS" if finding.is_needed else "-   "
            typer.echo(f"{mark} {finding.what:18} {finding.detail}")
    fine = sum(finding.is_fine for finding in findings)
    optional = len(findings) - fine - len(missing)
    summary = f"{len(findings)} checks = {fine} fine + {len(missing)} missing + {optional} optional"
    finish(summary, {"missing": [finding.what for finding in missing]}, as_json)
    if missing:
        raise typer.Exit(1)


def demo(
    root: Annotated[Path, typer.Option(help="Folder of the demo.")] = Path("demo"),
    video: Annotated[list[Path] | None, typer.Option(help="Your footage, repeatable.")] = None,
    as_json: Json = False,
) -> None:
    """The whole path once, small: render, ingest, annotate, pack, train, generate, report.

    Example: isa4d demo --root demo --video holiday.mp4
    """
    from orchestration.demo import run_demo

    page = run_demo(root, video or [])
    finish(f"report: {page}", {"report": str(page)}, as_json)


COMMANDS = (
    doctor, render, ingest, annotate, pack, publish, train, encode, generate, review, view,
    accept, reject, demo,
)  # fmt: skip
"""In the order of --help, which is the order of the path."""

for _command in COMMANDS:
    app.command()(_command)
app.add_typer(dataset_app, name="dataset")
app.add_typer(evaluate_app, name="evaluate")


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command; what the user can mend is one line, a bug of ours is a traceback."""
    try:
        app(args=arguments)
    except (ValueError, OSError, RuntimeError) as error:
        typer.echo(f"error: {error}", err=True)
        sys.exit(1)


if __name__ == "__main__":
    main()
