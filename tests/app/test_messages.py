from __future__ import annotations

import pytest

from fiftyone_resclip.app.messages import verbatim

JOINER = "\N{WORD JOINER}"


@pytest.mark.parametrize(
    "text", ["road", "traffic light", "mIoU 41.2 %", "a run 'ground_truth_2' exists", "-61.31", "3.5", "car (red)"]
)
def test_ordinary_text_stays(text: str) -> None:
    assert verbatim(text) == text


@pytest.mark.parametrize(
    ("text", "escaped"),
    [
        ("![x](http://a)", f"!\\[x\\](http:{JOINER}//a)"),
        ("<img src=x>", "\\<img src=x>"),
        ("**b** _i_ `c` ~~d~~", "\\*\\*b\\*\\* \\_i\\_ \\`c\\` \\~\\~d\\~\\~"),
        ("a\\", "a\\\\"),
        ("a|b &amp; c", "a\\|b \\&amp; c"),
        ("www.a.b me@a.b HTTPS://a", f"www{JOINER}.a.b me{JOINER}@a.b HTTPS:{JOINER}//a"),
        ("# a", "\\# a"),
        ("> a", "\\> a"),
        ("- a", "\\- a"),
        ("---", "\\---"),
        ("1. a", "1\\. a"),
        ("2)", "2\\)"),
        ("a\n\n# b\n\tc", "a # b c"),
        ("    code", "code"),
    ],
)
def test_what_markdown_would_render_is_escaped(text: str, escaped: str) -> None:
    assert verbatim(text) == escaped
