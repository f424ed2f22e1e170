"""Work that goes on in threads of the App's server, whatever happens to the page that started it: labelling runs, and others.

Only what no record of the dataset holds is kept here, in memory: which runs wait, what they do before they label, and why one
failed. Everything else is in the dataset's runs (:mod:`fiftyone_resclip.labeling.runs`) and in what writers tell
(:mod:`fiftyone_resclip.labeling.writers`), so a run survives its server as one that was interrupted.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from threading import Event, Lock, Thread, main_thread
from typing import TYPE_CHECKING, Any, Literal, Protocol
from uuid import uuid4

from fiftyone_resclip.app.messages import sentence
from fiftyone_resclip.fields.private import dataset_id
from fiftyone_resclip.labeling import writers

if TYPE_CHECKING:
    from fiftyone_resclip.labeling.batches import LabelingReport
    from fiftyone_resclip.labeling.writers import Progress, Writer

#: Work in steps: yields what it is about to do, or how far it is; returns lines about its result.
Steps = Generator["str | Advance", None, Sequence[str]]
State = Literal["waiting", "running", "finished", "stopped", "failed"]

#: Name of the threads that work goes on in.
THREAD = "resclip-run"

_LOOK_AGAIN_S = 0.5
_ENDED_KEPT = 20
_lock = Lock()
_jobs: list[Job] = []


class Advance(Protocol):
    """Something that says how far work is."""

    @property
    def progress(self) -> Progress:
        """How far it is."""


@dataclass(eq=False)
class Task:
    """Work that a page of the App started.

    Attributes:
        steps: the work
        state: what became of it
        doing: what it waits for or does; the reason if it failed
        last: the last step that said how far it is
        lines: what is to be said about its result
    """

    steps: Steps
    state: State = field(default="waiting", init=False)
    doing: str = field(default="", init=False)
    last: Any = field(default=None, init=False)
    lines: Sequence[str] = field(default=(), init=False)
    _stop: Event = field(default_factory=Event, init=False, repr=False)

    @property
    def is_live(self) -> bool:
        """Whether it waits or runs."""
        return self.state in ("waiting", "running")

    @property
    def is_stopping(self) -> bool:
        """Whether it was told to stop, and ends as soon as its current step is done."""
        return self.is_live and self._stop.is_set()

    @property
    def progress(self) -> Progress | None:
        """How far it is, once it has said so."""
        return None if self.last is None else self.last.progress

    def start(self) -> None:
        """Starts it in a thread, which is no daemon, so that a server that ends lets it write down how far it came."""
        Thread(target=self._run, name=THREAD).start()

    def stop(self) -> None:
        """Ends it after its current step; what is done is kept."""
        self._stop.set()

    def _run(self) -> None:
        try:
            self._wait()
            if not self._stop.is_set():
                self._work()
            self.state = "stopped" if self._is_unfinished else "finished"
        except Exception as error:
            self.doing, self.state = sentence(error), "failed"

    @property
    def _is_unfinished(self) -> bool:
        progress = self.progress
        return self._stop.is_set() and (progress is None or progress.done < progress.total)

    def _wait(self) -> None:
        """Waits until it may begin, or is stopped."""

    def _work(self) -> None:
        self.state = "running"
        with closing(self._noted()) as steps:
            for step in steps:
                if isinstance(step, str):
                    self.doing = step
                else:
                    self.last = step
                if self._stop.is_set():
                    break

    def _noted(self) -> Generator[str | Advance, None, None]:
        self.lines = yield from self.steps


@dataclass(eq=False)
class Job(Task):
    """A labelling run.

    Attributes:
        dataset: id of the dataset
        label_field: the field that it fills
        busy: returns the writers of the field in other processes
        arrived: called with the context of the first page that sees the end of the run, to show what came of it
        id: unique id
        was_seen: whether a page has shown its end
    """

    dataset: str
    label_field: str
    busy: Callable[[], list[Writer]]
    arrived: Callable[[Any], object]
    id: str = field(default_factory=lambda: uuid4().hex)
    was_seen: bool = False

    @property
    def report(self) -> LabelingReport | None:
        """Its report, once it labels."""
        return self.last  # type: ignore[no-any-return]  # the steps of a labelling run are reports

    def fills(self, dataset: str, label_field: str) -> bool:
        """Returns whether this run fills a field of a dataset, given by its id."""
        return (self.dataset, self.label_field) == (dataset, label_field)

    def _wait(self) -> None:
        while (obstacle := self._obstacle()) is not None and main_thread().is_alive():
            self.doing = f"Waits for {obstacle}, which fills the same field"
            if self._stop.wait(_LOOK_AGAIN_S):
                return

    def _obstacle(self) -> str | None:
        """What must end before this run may begin."""
        with _lock:
            earlier = _jobs[: _jobs.index(self)]
        if any(job.is_live and job.fills(self.dataset, self.label_field) for job in earlier):
            return "an earlier run"
        return next(map(str, self.busy()), None)

    def _work(self) -> None:
        super()._work()
        if self.report is not None and self.report.stopped:  # somebody asked the writer
            self._stop.set()
        elif self.report is not None:
            self.report.stopped = self._is_unfinished


def is_possible() -> bool:
    """Returns whether this process is the App's server, which lives on after a request."""
    return bool(os.environ.get("FIFTYONE_SERVER"))


def start(dataset: Any, label_field: str, steps: Steps, arrived: Callable[[Any], object]) -> Job:
    """Starts a run in the background; it waits for other runs of its field.

    Args:
        dataset: a FiftyOne dataset
        label_field: the field that it fills
        steps: the run
        arrived: called with the context of the first page that sees its end

    Returns:
        the run
    """
    key = str(dataset_id(dataset))
    job = Job(steps, key, label_field, lambda: writers.alive(dataset, label_field), arrived)
    with _lock:
        ended = [known for known in _jobs if not known.is_live and not known.fills(key, label_field)]
        _jobs[:] = [known for known in _jobs if known.is_live or known in ended[-_ENDED_KEPT:]]
        _jobs.append(job)
    job.start()
    return job


def jobs(dataset: Any) -> list[Job]:
    """Returns the runs of a dataset that this server started, oldest first: those under way, and the last ones that ended."""
    with _lock:
        return [job for job in _jobs if job.dataset == str(dataset_id(dataset))]


def forget(job_id: str) -> None:
    """Forgets a run that has ended."""
    with _lock:
        _jobs[:] = [job for job in _jobs if job.id != job_id or job.is_live]


def stop(dataset: Any, label_field: str | None = None) -> int:
    """Stops the runs of a dataset, here and in other processes, after their current step.

    Args:
        dataset: a FiftyOne dataset
        label_field (None): stops only those of this field

    Returns:
        how many runs were told to stop
    """
    own = [job for job in jobs(dataset) if job.is_live and label_field in (None, job.label_field)]
    for job in own:
        job.stop()
    fields = {job.label_field for job in own}
    others = {writer.label_field for writer in writers.alive(dataset, label_field)} - fields
    for other in others:
        writers.stop_all(dataset, other)
    return len(own) + len(others)
