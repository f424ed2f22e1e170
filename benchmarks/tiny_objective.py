"""What the tiny CLIP is trained to do: match pictures with captions, and patches with the phrases of a caption.

Both losses read pictures and words only; no mask is seen.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import open_clip
import torch
from open_clip.transformer import ResidualAttentionBlock
from torch import Tensor, nn
from torch.nn import functional

from fiftyone_resclip.config import STRATEGIES
from fiftyone_resclip.core.attention import attend

#: Factor on the cosines of patches and phrases before the softmax over phrases, the same as in dense prediction.
_SCALE = 40.0
#: A phrase is found if its best patches, this share of all, are sure of it.
_BEST_SHARE = 0.05
#: Weight of finding each phrase, beside that of giving each patch one of the phrases.
_FINDING = 0.3
_NEVER = -1e4


class BlockDropout(nn.Module):
    """Keeps some random blocks of 2 x 2 patches of each picture: training is quicker, and the patches still have neighbours.

    Args:
        kept: number of blocks
    """

    def __init__(self, kept: int) -> None:
        super().__init__()
        self.kept = kept

    def forward(self, tokens: Tensor) -> Tensor:
        """Drops the other patches of a square grid, ``(B, 1 + P, D)`` -> ``(B, 1 + 4 * kept, D)``."""
        side = math.isqrt(tokens.shape[1] - 1)
        blocks = torch.rand(len(tokens), (side // 2) ** 2).topk(self.kept).indices
        corners = blocks // (side // 2) * 2 * side + blocks % (side // 2) * 2
        places = (corners[..., None] + torch.tensor([0, 1, side, side + 1])).flatten(1)
        return torch.cat([tokens[:, :1], tokens[:, 1:].take_along_dim(places[..., None], dim=1)], dim=1)


class PatchReader:
    """Reads the patch features that dense prediction compares with words, after a CLIP has encoded images.

    Args:
        model: the CLIP; its last block is watched from now on
    """

    def __init__(self, model: open_clip.CLIP) -> None:
        self._visual = model.visual
        self._block: ResidualAttentionBlock = model.visual.transformer.resblocks[-1]
        self._block.register_forward_pre_hook(self._watch)
        self._tokens = torch.empty(0)

    def _watch(self, _: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        self._tokens = inputs[0]

    def read(self) -> tuple[Tensor, Tensor]:
        """Returns the L2-normalised features of the patches, read in two ways, each ``(B, P, D)``.

        First each patch by itself, then after it has attended to patches with similar keys, as in NACLIP. NACLIP's bias towards
        nearby patches is left out: when patches are dropped in training, their places are not known.
        """
        attention = self._block.attn
        projected = functional.linear(self._block.ln_1(self._tokens), attention.in_proj_weight, attention.in_proj_bias)
        q, k, v = (part.unflatten(2, (attention.num_heads, -1)).transpose(1, 2) for part in projected.chunk(3, dim=2))
        return self._project(v), self._project(attend(q, k, v, STRATEGIES["naclip"]))

    def _project(self, values: Tensor) -> Tensor:
        tokens = self._block.attn.out_proj(values.transpose(1, 2).flatten(2))[:, 1:]
        return functional.normalize(self._visual.ln_post(tokens) @ self._visual.proj, dim=-1)


def encode_text(model: open_clip.CLIP, texts: Sequence[str], rng: np.random.Generator) -> Tensor:
    """Encodes texts, half of them in one of OpenAI's prompt templates, as they will be when the model is used.

    The result is that of ``model.encode_text``, but the padding after the longest text is not computed.

    Args:
        model: the model being trained
        texts: captions or phrases
        rng: chooses the templates

    Returns:
        L2-normalised features, ``(n, D)``
    """
    templates = open_clip.OPENAI_IMAGENET_TEMPLATES
    sentences = [templates[rng.integers(len(templates))](text) if rng.random() < 0.5 else text for text in texts]
    tokens = open_clip.tokenize(sentences)
    ends = tokens.argmax(dim=1)  # the end of a text has the highest number in the vocabulary
    length = int(ends.max()) + 1
    embedded = model.token_embedding(tokens[:, :length]) + model.positional_embedding[:length]
    hidden = model.ln_final(model.transformer(embedded, attn_mask=model.attn_mask[:length, :length]))
    return functional.normalize(hidden[torch.arange(len(tokens)), ends] @ model.text_projection, dim=-1)


def contrastive_loss(images: Tensor, texts: Tensor, captions: Sequence[str], scale: Tensor) -> Tensor:
    """CLIP's symmetric loss; pairs with equal captions count as positives of each other.

    Args:
        images: image features, ``(B, D)``
        texts: text features, ``(B, D)``
        captions: ``B`` captions
        scale: factor on the cosines

    Returns:
        the loss, a scalar
    """
    logits = scale * images @ texts.T
    target = torch.tensor([[float(a == b) for b in captions] for a in captions])
    target = target / target.sum(dim=1, keepdim=True)
    return (functional.cross_entropy(logits, target) + functional.cross_entropy(logits.T, target)) / 2


def phrase_loss(patches: Tensor, texts: Tensor, named: Tensor, open_questions: Tensor) -> Tensor:
    """Asks that each patch looks like one of the phrases that name its picture, and that each of these is found somewhere.

    Args:
        patches: patch features, ``(B, P, D)``
        texts: features of all phrases, ``(K, D)``
        named: which phrases name which picture, ``(B, K)`` bool
        open_questions: which phrases may be true although they do not name the picture, ``(B, K)`` bool; they do not compete

    Returns:
        the loss, a scalar
    """
    scores = (_SCALE * patches @ texts.T).masked_fill(open_questions[:, None], _NEVER)
    logs = scores.log_softmax(dim=-1)
    explained = logs.masked_fill(~named[:, None], _NEVER).logsumexp(dim=-1)
    best = logs.exp().topk(max(1, round(_BEST_SHARE * logs.shape[1])), dim=1).values.mean(dim=1)
    return -explained.mean() - _FINDING * best.clamp(min=1e-6).log()[named].mean()


def questions(named: Sequence[Sequence[str]]) -> tuple[list[str], Tensor, Tensor]:
    """Lists all phrases of a batch, and asks of each picture which of them name it.

    Args:
        named: the phrases that name each of ``B`` pictures

    Returns:
        the ``K`` phrases; which of them name each picture, ``(B, K)`` bool; which of them may be true although they do not,
        because they say more or less than one that does, ``(B, K)`` bool
    """
    phrases = sorted({phrase for names in named for phrase in names})
    words = {phrase: frozenset(phrase.split()) for phrase in phrases}
    true = torch.tensor([[phrase in names for phrase in phrases] for names in named])
    related = torch.tensor([[any(words[a] < words[b] or words[b] < words[a] for b in names) for a in phrases] for names in named])
    return phrases, true, related & ~true
