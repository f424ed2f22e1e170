"""Which towers of open_clip can be used: the table of ``docs/ARCHITECTURES.md``, from open_clip's own configurations."""

from __future__ import annotations

import open_clip

from fiftyone_resclip.backbone import refusal

_HEAD = """# Which architectures of open_clip work

Plain CLIP ViT towers of `open_clip.CLIP` with a class token. Pretrained tags and checkpoint files go through open_clip's own
loader; use the `-quickgelu` variants where the weights want them (OpenAI, MetaCLIP, DFN). RCS takes blocks 6-9 unless
configured otherwise.

Written by `fiftyone-resclip architectures` from open_clip {version}; a test keeps it true.
"""


def table() -> str:
    """Gives the page as Markdown: what works with its shapes and tags, what does not with the reason."""
    works, refused = [], []
    for name in open_clip.list_models():
        config = open_clip.get_model_config(name)
        reason = refusal(config)
        if reason:
            refused.append(f"| {name} | {reason} |")
            continue
        vision = config["vision_cfg"]
        tags = ", ".join(open_clip.list_pretrained_tags_by_model(name)) or "–"
        shape = f"{vision['image_size']} | {vision['patch_size']} | {vision['width']} | {vision['layers']}"
        works.append(f"| {name} | {shape} | {tags} |")
    head = "| architecture | image px | patch px | width | blocks | pretrained tags |\n|---|---|---|---|---|---|"
    sections = [
        _HEAD.format(version=open_clip.__version__),
        f"## Supported ({len(works)})\n",
        head,
        *works,
        f"\n## Refused ({len(refused)})\n",
    ]
    return "\n".join([*sections, "| architecture | because |\n|---|---|", *refused]) + "\n"
