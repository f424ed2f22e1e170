"""Helpers that run operators and panels without a browser, in FiftyOne's own context, and show what they ask of the App."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import fiftyone as fo
import fiftyone.operators as foo
import pytest
from fiftyone.operators.executor import ExecutionContext, Executor

from fiftyone_resclip import cli
from fiftyone_resclip.app import background


@pytest.fixture
def installed() -> Iterator[None]:
    """Installs the plugin where FiftyOne looks for it."""
    assert cli.main(["install"]) == 0
    yield
    assert cli.main(["uninstall"]) == 0


@pytest.fixture
def in_the_app(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Makes this process pass for the App's server, in which runs go on in the background; waits for them at the end."""
    monkeypatch.setenv("FIFTYONE_SERVER", "1")
    yield
    for thread in threading.enumerate():
        if thread.name == background.THREAD:
            thread.join(300)


def until(condition: Callable[[], Any], seconds: float = 300) -> Any:
    """Waits until a condition holds, and returns its value."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline, "it took too long"
        time.sleep(0.02)
    return value


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


def opened_panel(context: ExecutionContext) -> tuple[str, dict[str, Any]]:
    """Returns the name and state of the panel that the App was asked to open beside the grid."""
    requests = dict(asked(context))
    (panel,) = fo.Space.from_dict(requests["set_spaces"]["spaces"]).children[-1].children
    state = requests.get("set_panel_state", {"panel_id": panel.component_id, "state": {}})
    assert state["panel_id"] == panel.component_id
    return panel.type, state["state"]


def labels_of(form: Any) -> dict[str, Any]:
    """Returns the label of each part of a form, or ``None`` for a part without a view."""
    return {name: part.view.label if part.view else None for name, part in form.type.properties.items()}


def operator(name: str) -> Any:
    """Returns an operator of the plugin, as a user gets it."""
    return foo.get_operator(f"@fiftyone-resclip/resclip/{name}")


MakeContext = Callable[..., ExecutionContext]
MakeDataset = Callable[..., fo.Dataset]
