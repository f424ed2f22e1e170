"""Helpers that run operators and panels without a browser, in FiftyOne's own context, and show what they ask of the App."""

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
    """Installs the plugin where FiftyOne looks for it."""
    assert cli.main(["install"]) == 0
    yield
    assert cli.main(["uninstall"]) == 0


@pytest.fixture
def make_context() -> Callable[..., ExecutionContext]:
    """Builds contexts as FiftyOne's server does for a request from the App."""

    def make(view: Any, request: dict[str, Any] | None = None, **params: Any) -> ExecutionContext:
        dataset = view._dataset
        given = {"dataset_name": dataset.name, "view": view.view()._serialize(), "params": params, **(request or {})}
        return ExecutionContext(given, executor=Executor())

    return make


def asked(context: ExecutionContext) -> list[tuple[str, dict[str, Any]]]:
    """Returns the name and parameters of everything the App was asked to do, in order."""
    return [(request.operator_uri, request.params) for request in context.executor._requests]


def notices(context: ExecutionContext) -> list[tuple[str, str]]:
    """Returns the variant and text of each notification that the user got."""
    return [(params["variant"], params["message"]) for name, params in asked(context) if name == "notify"]


def labels_of(form: Any) -> dict[str, Any]:
    """Returns the label of each part of a form, or ``None`` for a part without a view."""
    return {name: part.view.label if part.view else None for name, part in form.type.properties.items()}


def operator(name: str) -> Any:
    """Returns an operator of the plugin, as a user gets it."""
    return foo.get_operator(f"@fiftyone-resclip/resclip/{name}")


MakeContext = Callable[..., ExecutionContext]
MakeDataset = Callable[..., fo.Dataset]
