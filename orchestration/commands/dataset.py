"""`isa4d dataset ...`: what is published, and how it is named, compared and given up."""

from typing import Annotated

import typer

from orchestration.commands.output import Json, Reference, Root, describe, finish, progress_of_bytes

dataset_app = typer.Typer(help="Published dataset versions.", no_args_is_help=True)


@dataset_app.command("list")
def dataset_list(root: Root = "data", as_json: Json = False) -> None:
    """Every data set with its versions, newest first, and what its tags mean.

    Example: isa4d dataset list --root data
    """
    from storage_schemas.dataset import list_names, list_tags, list_versions, read_manifest
    from storage_schemas.store import Store

    store = Store(root)
    lines, listed, means = [], [], {}
    names = list_names(store)
    for name in names:
        means[name] = tags = list_tags(store, name) | {"latest": read_manifest(store, name).version}
        for manifest in list_versions(store, name):
            marks = sorted(mark for mark, version in tags.items() if version == manifest.version)
            lines.append(describe(manifest) + (f" ({', '.join(marks)})" if marks else ""))
            listed.append({"name": name, "version": manifest.version})
    lines.append(f"{len(names)} data sets, {len(listed)} versions")
    finish("\n".join(lines), {"versions": listed, "tags": means}, as_json)


@dataset_app.command("show")
def dataset_show(reference: Reference, root: Root = "data", as_json: Json = False) -> None:
    """What a version holds and where it comes from: counts, licences, sources, stages, code.

    Example: isa4d dataset show clips@2 --root data
    """
    from storage_schemas import catalogue
    from storage_schemas.dataset import read_catalogue, read_manifest
    from storage_schemas.store import Store

    store = Store(root)
    manifest = read_manifest(store, reference)
    clips = read_catalogue(store, manifest)
    counts = {
        name: catalogue.count(clips, column)
        for name, column in (
            ("splits", "split"), ("licences", "licence"), ("sources", "source"),
            ("made_by", "made_by"),
        )
    }  # fmt: skip
    films = catalogue.num_sources(clips)
    lines = [
        f"{title.replace('_', ' ')}: {value or 'nothing stated'}, {number} clips"
        for title, values in counts.items()
        for value, number in values.items()
    ]
    lines += [f"source files: {films}", f"published by: {manifest.code or 'not stated'}"]
    content = {
        "name": manifest.name, "version": manifest.version, "parent": manifest.parent,
        "created": manifest.created, "code": manifest.code, "clips": manifest.num_clips,
        "shards": len(manifest.shards), "size_bytes": manifest.size_bytes,
        "source_files": films, **counts,
    }  # fmt: skip
    finish("\n".join([*lines, describe(manifest)]), content, as_json)


@dataset_app.command("diff")
def dataset_diff(
    before: Reference,
    after: Reference,
    limit: Annotated[int, typer.Option(min=0, help="Clips to name of each kind.")] = 20,
    root: Root = "data",
    as_json: Json = False,
) -> None:
    """Clips added, removed and relabelled from one version to another, without reading shards.

    Example: isa4d dataset diff clips@1 clips --root data
    """
    from storage_schemas.dataset import diff
    from storage_schemas.store import Store

    found = diff(Store(root), before, after)
    kinds = {name: getattr(found, name) for name in ("added", "removed", "relabelled", "remade")}
    lines = []
    for kind, ids in kinds.items():
        lines += [f"{kind} {clip_id}" for clip_id in ids[:limit]]
        lines += [f"{kind} {len(ids) - limit} more"] if len(ids) > limit else []
    content = {kind: {"count": len(ids), "clips": ids[:limit]} for kind, ids in kinds.items()}
    finish("\n".join([*lines, found.summary()]), {"same": found.num_same, **content}, as_json)


@dataset_app.command("tag")
def dataset_tag(
    reference: Reference,
    tag: Annotated[str, typer.Argument(help="Name for it, for example prod.")],
    delete: Annotated[bool, typer.Option("--delete", help="Forget the tag of NAME.")] = False,
    root: Root = "data",
    as_json: Json = False,
) -> None:
    """Let NAME@TAG mean a version, from now on and until it is moved.

    Example: isa4d dataset tag clips@3 prod --root data
    """
    from storage_schemas import dataset
    from storage_schemas.store import Store

    if delete:
        dataset.untag(Store(root), reference, tag)
        finish(f"{reference}@{tag} means nothing now", {"name": reference, "tag": tag}, as_json)
        return
    manifest = dataset.tag(Store(root), reference, tag)
    content = {"name": manifest.name, "version": manifest.version, "tag": tag}
    finish(f"{manifest.name}@{tag} is {manifest.reference}", content, as_json)


@dataset_app.command("rollback")
def dataset_rollback(reference: Reference, root: Root = "data", as_json: Json = False) -> None:
    """Let NAME mean an older version again; no version is lost, so this can be taken back.

    Example: isa4d dataset rollback clips@2 --root data
    """
    from storage_schemas.dataset import rollback
    from storage_schemas.store import Store

    if "@" not in reference:
        raise ValueError(f"rollback needs NAME@VERSION, got {reference!r}; see dataset list")
    manifest = rollback(Store(root), reference)
    content = {"name": manifest.name, "version": manifest.version}
    finish(f"{manifest.name} is {describe(manifest)}", content, as_json)


@dataset_app.command("verify")
def dataset_verify(reference: Reference, root: Root = "data", as_json: Json = False) -> None:
    """Read every byte of a version again.

    Example: isa4d dataset verify clips@2 --root data
    """
    from storage_schemas.dataset import read_manifest, verify
    from storage_schemas.store import Store

    store = Store(root)
    manifest = read_manifest(store, reference)
    with progress_of_bytes("verify", manifest.size_bytes) as advance:
        verify(store, manifest, advance)
    finish(f"{describe(manifest)}; every byte is as published", {"is_whole": True}, as_json)


@dataset_app.command("gc")
def dataset_gc(
    delete: Annotated[bool, typer.Option("--delete/--dry-run", help="Remove or tell.")] = False,
    keep: Annotated[
        int | None, typer.Option(min=1, help="Also give up all but so many versions of each name.")
    ] = None,
    grace_hours: Annotated[float, typer.Option(min=0, help="Spare what is younger.")] = 24.0,
    root: Root = "data",
    as_json: Json = False,
) -> None:
    """Objects that no version, tag or running job uses; told by default, removed with --delete.

    --keep never gives up what NAME means or what has a tag.

    Example: isa4d dataset gc --keep 5 --delete --root data
    """
    from storage_schemas.collect import collect, find_garbage
    from storage_schemas.dataset import list_names
    from storage_schemas.refs import give_up, old_versions
    from storage_schemas.store import Store

    store = Store(root)
    lines, gone = [], {}
    for name in list_names(store) if keep else ():
        gone[name] = (give_up if delete else old_versions)(store, name, keep or 1)
        lines += [f"{name}@{number} is given up" for number in gone[name]]
    given_up = [(name, number) for name, numbers in gone.items() for number in numbers]
    found = (
        collect(store, grace_hours * 3600)
        if delete
        else find_garbage(store, grace_hours * 3600, given_up)
    )
    lines += [f"{entry.key} {entry.size_bytes} bytes" for entry in found.garbage]
    done = "removed" if delete else "nothing removed; --delete removes the garbage"
    content = {
        "garbage": [entry.key for entry in found.garbage], "used": found.num_used,
        "young": found.num_young, "given_up": gone, "is_removed": delete,
    }  # fmt: skip
    finish("\n".join([*lines, f"{found.summary()}; {done}"]), content, as_json)
