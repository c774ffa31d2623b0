"""Recipes: functions that return a frozen configuration of a run, found by their name."""

import importlib
import inspect
import json
import pkgutil
import types
from collections.abc import Callable, Mapping
from dataclasses import asdict, fields, is_dataclass
from typing import Any, Union, get_args, get_origin, get_type_hints

RUN_FIELDS = {"name", "clips", "num_steps", "batch_size", "seed"}
"""What the training program asks of every recipe."""


def recipe_functions() -> dict[str, Callable[[], Any]]:
    """Every function of this package that returns a recipe, by name."""
    found: dict[str, Callable[[], Any]] = {}
    for info in pkgutil.iter_modules(__path__):
        module = importlib.import_module(f"{__name__}.{info.name}")
        for name, function in inspect.getmembers(module, inspect.isfunction):
            returned = get_type_hints(function).get("return")
            if function.__module__ == module.__name__ and _is_recipe(returned):
                found[name] = function
    return found


def find_recipe(name: str) -> Any:
    """The recipe of this name.

    Raises:
        ValueError: If there is none; the message names those there are.
    """
    functions = recipe_functions()
    if name not in functions:
        raise ValueError(f"no recipe {name!r}; there are {', '.join(sorted(functions))}")
    return functions[name]()


def recipe_to_json(recipe: Any) -> str:
    """The resolved recipe, with the class that reads it back."""
    kind = type(recipe)
    content = {"kind": f"{kind.__module__}:{kind.__qualname__}", "settings": asdict(recipe)}
    return json.dumps(content, indent=1)


def recipe_from_json(text: str) -> Any:
    """What `recipe_to_json` wrote; a recipe keeps its values when its function changes.

    Raises:
        ValueError: If the text names no recipe of ours or has other fields.
    """
    try:
        content = json.loads(text)
        kinds = {f"{k.__module__}:{k.__qualname__}": k for k in _kinds()}
        return _build(kinds[content["kind"]], content["settings"])
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"not a recipe of this version: {error!r}") from error


def _kinds() -> set[type]:
    return {get_type_hints(function)["return"] for function in recipe_functions().values()}


def _is_recipe(kind: Any) -> bool:
    return is_dataclass(kind) and {field.name for field in fields(kind)} >= RUN_FIELDS


def _build(kind: Any, value: Any) -> Any:
    if value is None:
        return None
    if is_dataclass(kind) and isinstance(kind, type):
        hints = get_type_hints(kind)
        return kind(**{name: _build(hints[name], item) for name, item in value.items()})
    origin, arguments = get_origin(kind), get_args(kind)
    if origin in (Union, types.UnionType):
        (inner,) = [argument for argument in arguments if argument is not type(None)][:1]
        return _build(inner, value) if isinstance(value, (dict, list)) else value
    if origin is tuple:
        if len(arguments) == 2 and arguments[1] is Ellipsis:
            return tuple(_build(arguments[0], item) for item in value)
        return tuple(_build(k, item) for k, item in zip(arguments, value, strict=True))
    if origin in (dict, Mapping):
        return dict(value)
    return value
