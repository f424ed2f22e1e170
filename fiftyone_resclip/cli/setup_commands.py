"""The commands that need no dataset of the user: demo, install, uninstall, doctor."""

from __future__ import annotations

from pathlib import Path

import click

from fiftyone_resclip.cli.answers import Answer, answering
from fiftyone_resclip.cli.datasets import Folder


@click.command("demo")
@click.option(
    "--out", type=Folder(), default=Path("demo"), show_default=True,
    help="Folder for pictures, results and the demo's own database.",
)  # fmt: skip
@click.option(
    "--images", type=click.IntRange(min=1), default=40, show_default=True, help="Number of scenes, besides 8 to learn from."
)
@click.option("--app", is_flag=True, help="Open the App at the end.")
def demo(out: Path, images: int, app: bool) -> None:
    """Try it offline, on generated scenes.

    Labels and evaluates scenes of cloth with the bundled tiny CLIP, in a database of its own.

    \b
    fiftyone-resclip demo
    fiftyone-resclip demo --app
    """
    from fiftyone_resclip.doors import own_database

    own_database.use(out / "database")
    from fiftyone_resclip import demo as home

    home.run(out, images, app)


def _folders() -> tuple[Path, Path]:
    import fiftyone as fo

    return Path(fo.config.plugins_dir), Path(fo.config.model_zoo_dir)


@click.command("install")
@answering
def install() -> Answer:
    """Let FiftyOne's App and zoo find ResCLIP."""
    from fiftyone_resclip.doors.install import install as copy

    folders = copy(*_folders())
    return Answer("\n".join(f"installed {folder}" for folder in folders), {"installed": list(map(str, folders))})


@click.command("uninstall")
@answering
def uninstall() -> Answer:
    """Undo `install`; datasets and masks stay."""
    from fiftyone_resclip.doors.install import uninstall as remove

    folders = remove(*_folders())
    text = "\n".join(f"removed {folder}" for folder in folders) or "nothing was installed"
    return Answer(text, {"removed": list(map(str, folders))})


@click.command("doctor")
@click.option("--fix", is_flag=True, help="Mend what is safe to mend: plugin and zoo copies, mask files that no label names.")
@answering
def doctor(fix: bool) -> Answer:
    """Check everything that is needed.

    Prints what to do about each fault, and exits with 1 if there is one.

    \b
    fiftyone-resclip doctor
    fiftyone-resclip doctor --fix
    """
    from fiftyone_resclip.doors.doctor import examine

    findings = examine(fix=fix)
    faults = sum(finding.state == "fault" for finding in findings)
    summary = f"{faults} fault{'s' if faults > 1 else ''}, see above" if faults else "no faults"
    data = [finding._asdict() for finding in findings]
    return Answer("\n".join([*map(str, findings), "", summary]), data, exit_code=int(faults > 0))
