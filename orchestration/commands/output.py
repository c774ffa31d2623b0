"""How every command ends, and the options many of them share."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import islice
from typing import Annotated, Any

import typer
from rich.console import Console

TOLD_FAILURES = 5
"""Failures of a stage that are told one by one; the others stand in results/."""

Root = Annotated[str, typer.Option(help="Data root: a folder or s3://bucket/prefix.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object for machines.")]
Reference = Annotated[str, typer.Argument(help="NAME, NAME@VERSION or NAME@TAG.")]
Workers = Annotated[int, typer.Option(min=0, help="Ray actors; 0 works in this process.")]


def finish(summary: str, content: Mapping[str, Any], as_json: bool) -> None:
    """The last line of a command."""
    if as_json:
        typer.echo(json.dumps({"summary": summary, **content}))
    else:
        Console().print(summary, highlight=False, markup=False, soft_wrap=True)


def finish_stages(store: Any, accountings: Sequence[Any], as_json: bool) -> None:
    """The last lines of a command that ran stages; failures are told and make it exit with 1."""
    from dataclasses import asdict

    from pipelines.run import tell_failures

    failed = [accounting.stage for accounting in accountings if accounting.failed]
    for stage in failed:
        for line in islice(tell_failures(store, stage), TOLD_FAILURES):
            typer.echo(line, err=True)
    summary = "\n".join(accounting.summary() for accounting in accountings)
    finish(summary, {"stages": [asdict(accounting) for accounting in accountings]}, as_json)
    if failed:
        raise typer.Exit(1)


@contextmanager
def progress_of_bytes(title: str, total: int) -> Iterator[Callable[[int], None]]:
    """A bar on a terminal, nothing elsewhere."""
    from rich.progress import BarColumn, DownloadColumn, Progress, TimeRemainingColumn

    console = Console(stderr=True)
    columns = (title, BarColumn(), DownloadColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        task = progress.add_task(title, total=total)
        yield lambda num_bytes: progress.advance(task, num_bytes)


def describe(manifest: Any) -> str:
    """A version in one line."""
    splits = " + ".join(f"{count} {split}" for split, count in sorted(manifest.splits.items()))
    return (
        f"{manifest.reference}: {manifest.num_clips} clips = {splits}; "
        f"{len(manifest.shards)} shards, {manifest.size_bytes / 1e6:.1f} MB, {manifest.created}"
    )
