"""Operators and panels without a browser: FiftyOne's own context, and what they ask the App to do."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import fiftyone as fo
import fiftyone.operators as foo
import pytest
from fiftyone.operators.executor import ExecutionContext, Executor

from fiftyone_resclip import cli


@pytest.fixture
def installed() -> Iterator[None]:
    """The plugin where FiftyOne looks for it."""
    assert cli.main(["install"]) == 0
    yield
    assert cli.main(["uninstall"]) == 0


@pytest.fixture
def make_context() -> Callable[..., ExecutionContext]:
    """Makes contexts as FiftyOne's server does for a request of the App."""

    def make(view: Any, request: dict[str, Any] | None = None, **params: Any) -> ExecutionContext:
        dataset = view._dataset
        given = {"dataset_name": dataset.name, "view": view.view()._serialize(), "params": params, **(request or {})}
        return ExecutionContext(given, executor=Executor())

    return make


def asked(context: ExecutionContext) -> list[tuple[str, dict[str, Any]]]:
    """What the App was asked to do, in order: name and parameters."""
    return [(request.operator_uri, request.params) for request in context.executor._requests]


def notices(context: ExecutionContext) -> list[tuple[str, str]]:
    """The notifications the user got: variant and text."""
    return [(params["variant"], params["message"]) for name, params in asked(context) if name == "notify"]


def labels_of(form: Any) -> dict[str, Any]:
    """The label that each part of a form shows, or for a choice its default."""
    return {name: part.view.label if part.view else None for name, part in form.type.properties.items()}


def operator(name: str) -> Any:
    """An operator of the plugin, as a user gets it."""
    return foo.get_operator(f"@fiftyone-resclip/resclip/{name}")


MakeContext = Callable[..., ExecutionContext]
MakeDataset = Callable[..., fo.Dataset]
