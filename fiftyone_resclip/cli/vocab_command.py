"""The command ``fiftyone-resclip vocab``: lists of classes and their words, checked, and saved by name for every dataset."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from fiftyone_resclip.cli.answers import Answer, answering
from fiftyone_resclip.errors import counted

if TYPE_CHECKING:
    from fiftyone_resclip.vocabulary import Vocabulary


@click.group("vocab")
def vocab() -> None:
    """Check classes in words; save them by name.

    The App and `label --vocab` use them by these names.

    \b
    fiftyone-resclip vocab check words.txt
    fiftyone-resclip vocab save streets "car: car, sedan, taxi" road sky
    fiftyone-resclip vocab show voc21                 the published words of a benchmark
    """


@vocab.command()
@click.argument("classes", nargs=-1, required=True)
@click.option("--background", help="The class that uncertain pixels get.")
@answering
def check(classes: tuple[str, ...], background: str | None) -> Answer:
    """Show how CLASSES are read: a text file, or classes such as 'car: car, sedan'.

    \b
    fiftyone-resclip vocab check words.txt
    """
    return _shown(_read(classes, background))


@vocab.command("list")
@answering
def list_all() -> Answer:
    """List the saved vocabularies, and those of the published benchmarks."""
    from fiftyone_resclip.doors.database import require_database
    from fiftyone_resclip.explore import saved_vocabularies
    from fiftyone_resclip.vocabulary import PUBLISHED

    require_database()
    saved = saved_vocabularies.names()
    text = f"saved: {', '.join(saved) or 'none'}\npublished: {', '.join(PUBLISHED)}"
    return Answer(text, {"saved": saved, "published": list(PUBLISHED)})


@vocab.command()
@click.argument("name")
@answering
def show(name: str) -> Answer:
    """Print a saved or published vocabulary."""
    return _shown(named_vocabulary(name))


@vocab.command()
@click.argument("name")
@click.argument("classes", nargs=-1, required=True)
@click.option("--background", help="The class that uncertain pixels get.")
@answering
def save(name: str, classes: tuple[str, ...], background: str | None) -> Answer:
    """Save CLASSES under NAME; replaces an earlier vocabulary of that name."""
    from fiftyone_resclip.doors.database import require_database
    from fiftyone_resclip.explore import saved_vocabularies

    vocabulary = _read(classes, background)
    require_database()
    saved_vocabularies.save(name, vocabulary)
    return Answer(f"saved {len(vocabulary.class_names)} classes as {name!r}", _shown(vocabulary).data)


@vocab.command()
@click.argument("name")
@answering
def delete(name: str) -> Answer:
    """Delete a saved vocabulary."""
    from fiftyone_resclip.doors.database import require_database
    from fiftyone_resclip.explore import saved_vocabularies

    require_database()
    saved_vocabularies.load(name)  # says which names there are, if it is none of them
    saved_vocabularies.delete(name)
    return Answer(f"deleted {name!r}", {"deleted": name})


def named_vocabulary(name: str) -> Vocabulary:
    """Loads a saved vocabulary or, if none has that name, the words of a published benchmark.

    Raises:
        DatabaseError: if FiftyOne's database can't be started
        VocabularyError: if there is neither; the message suggests the nearest name
    """
    from fiftyone_resclip.doors.database import require_database
    from fiftyone_resclip.errors import VocabularyError, unknown
    from fiftyone_resclip.explore import saved_vocabularies
    from fiftyone_resclip.vocabulary import PUBLISHED, Vocabulary

    require_database()
    saved = saved_vocabularies.names()
    if name in PUBLISHED and name not in saved:
        return Vocabulary.preset(name)
    if name not in saved:
        raise VocabularyError(unknown("vocabulary", name, [*saved, *PUBLISHED]))
    return saved_vocabularies.load(name)


def _read(classes: tuple[str, ...], background: str | None) -> Vocabulary:
    from fiftyone_resclip.vocabulary import Vocabulary

    return Vocabulary.parse(classes[0] if len(classes) == 1 else "\n".join(classes), background)


def _shown(vocabulary: Vocabulary) -> Answer:
    count = f"{counted(len(vocabulary.class_names), 'class')}, {counted(len(vocabulary.flat_phrases), 'phrase')}"
    fallback = "stay unlabelled" if vocabulary.background is None else f"become {vocabulary.background!r}"
    data = {
        "classes": dict(zip(vocabulary.class_names, map(list, vocabulary.phrases), strict=True)),
        "background": vocabulary.background,
    }
    return Answer(f"{vocabulary.to_text()}\n\n{count}; pixels below a prob_threshold {fallback}", data)
