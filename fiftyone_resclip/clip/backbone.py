"""The frozen CLIP: the trunk with its attention maps, the parts of the last block, and the text encoder.

:mod:`fiftyone_resclip.segmenter` combines the parts of the last block; :mod:`fiftyone_resclip.clip.weights` loads the weights.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import open_clip
import torch
from open_clip.transformer import QuickGELU, ResidualAttentionBlock, VisionTransformer
from torch import Tensor, nn
from torch.nn import functional

from fiftyone_resclip.clip.supported import refusal_message
from fiftyone_resclip.clip.weights import load_clip, random_clip
from fiftyone_resclip.config import STRATEGIES
from fiftyone_resclip.core.attention import attention_map
from fiftyone_resclip.core.kernels import linear
from fiftyone_resclip.core.residual import running_mean
from fiftyone_resclip.core.text import ensemble
from fiftyone_resclip.core.transfer import sent
from fiftyone_resclip.errors import BackboneError, ConfigError, ShapeError

_TEXTS_AT_ONCE = 256


class Trunk(NamedTuple):
    """The output of the blocks before the last one, and its projections by the last block.

    Attributes:
        tokens: output of block ``L - 1``, ``(B, N, D)``
        q: queries of the last block, ``(B, heads, N, d)``; ``k`` and ``v`` likewise
        k: keys
        v: values
        grid_hw: patches down and across
        mean_attention: mean attention of the requested blocks, ``(B, heads, N, N)``; ``None`` if there are none
    """

    tokens: Tensor
    q: Tensor
    k: Tensor
    v: Tensor
    grid_hw: tuple[int, int]
    mean_attention: Tensor | None


class Backbone:
    """An open_clip CLIP with a plain ViT image tower, split before its last block.

    Args:
        model: the CLIP; it is put into eval mode and frozen
        tokenizer: turns sentences into tokens, ``(n, context)`` int64
        name: its name in messages

    Raises:
        BackboneError: if the image tower is not a plain ViT
    """

    def __init__(self, model: open_clip.CLIP, tokenizer: Any, name: str = "CLIP") -> None:
        if not (isinstance(model, open_clip.CLIP) and isinstance(model.visual, VisionTransformer)):
            raise BackboneError(refusal_message(name, f"it is a {type(model).__name__}"))
        plain = all(type(block) is ResidualAttentionBlock for block in model.visual.transformer.resblocks)
        if not plain or model.visual.attn_pool is not None or model.visual.pool_type != "tok":
            raise BackboneError(refusal_message(name, "its blocks or its pooling are not CLIP's"))
        self.model = model.eval().requires_grad_(False)
        self.tokenizer = tokenizer
        self.name = name
        self._visual = model.visual
        self._blocks: list[ResidualAttentionBlock] = list(model.visual.transformer.resblocks)
        self._run_block: Callable[[ResidualAttentionBlock, Tensor], Tensor] = _run_block
        mean = getattr(model.visual, "image_mean", open_clip.OPENAI_DATASET_MEAN)
        std = getattr(model.visual, "image_std", open_clip.OPENAI_DATASET_STD)
        self._mean, self._std = ((255 * torch.tensor(v, dtype=torch.float64)).float().view(1, 3, 1, 1) for v in (mean, std))

    @classmethod
    def load(
        cls,
        model: str | Path = "resclip-vit-b-16",
        pretrained: str | Path | None = None,
        device: str | torch.device | None = None,
    ) -> Backbone:
        """Loads a CLIP with its weights.

        Args:
            model ("resclip-vit-b-16"): a name of ``presets.MODELS``, an architecture of open_clip, the path of an open_clip JSON
                config, or a folder with ``open_clip_config.json`` and weights
            pretrained (None): a tag of open_clip or a checkpoint file (safetensors, or a state dict of tensors; other pickles and
                TorchScript are refused); needed for architectures and JSON configs, and replaces the weights of a named model or
                a folder
            device (None): where to put it; by default a GPU if there is one

        Returns:
            the backbone, float32

        Raises:
            ConfigError: if there is no such device
            BackboneError: if the model is unknown or not a plain ViT
            WeightsError: if the weights are unknown, missing, can't be fetched or don't fit
        """
        return cls(*load_clip(model, pretrained, device), str(model))

    @classmethod
    def random(cls, architecture: str, seed: int, device: str | torch.device = "cpu") -> Backbone:
        """Makes a backbone with seeded random weights, for numerical tests and timing only.

        Args:
            architecture: an architecture of open_clip
            seed: seed of the weights
            device ("cpu"): where to put it

        Returns:
            the backbone, float32
        """
        return cls(*random_clip(architecture, seed, device), architecture)

    @property
    def device(self) -> torch.device:
        """The device of the weights."""
        device: torch.device = next(self.model.parameters()).device
        return device

    @property
    def patch_px(self) -> int:
        """Side of a patch in pixels."""
        return int(self._visual.patch_size[0])

    @property
    def feature_width(self) -> int:
        """Width ``D`` of image and text features."""
        return int(self._visual.output_dim)

    @property
    def n_blocks(self) -> int:
        """Number of transformer blocks of the image tower, the last one included."""
        return len(self._blocks)

    def normalise(self, image: Tensor) -> Tensor:
        """Turns ``(B, 3, H, W)`` uint8 into the network's normalised float32 on its device, without waiting for a GPU."""
        image, mean, std = (sent(values, self.device).float() for values in (image, self._mean, self._std))
        return (image - mean) / std

    def compile(self, backend: str = "inductor") -> None:
        """Compiles the blocks of the trunk with ``torch.compile``; the first image of each size then takes longer.

        Args:
            backend ("inductor"): backend of ``torch.compile``
        """
        for block in self._blocks[:-1]:
            block.compile(backend=backend)
        self._run_block = ResidualAttentionBlock.__call__

    def check_blocks(self, blocks: Sequence[int]) -> None:
        """Checks that the attention of blocks (counted from 1) can be mixed into that of the last block.

        Raises:
            ConfigError: if a block is the last one or beyond
        """
        if max(blocks, default=0) >= self.n_blocks:
            raise ConfigError(
                f"rcs.blocks must come before the last of {self.n_blocks} blocks of {self.name}, but got {tuple(blocks)}"
            )

    @torch.inference_mode()
    def trunk(self, pixels: Tensor, map_blocks: Sequence[int] = ()) -> Trunk:
        """Runs blocks ``1 ... L - 1`` and projects their output for the last block.

        Args:
            pixels: the normalised image, ``(B, 3, H, W)``; pixels beyond the last whole patch are dropped
            map_blocks (()): blocks, counted from 1, whose attention is averaged

        Returns:
            the :class:`Trunk`

        Raises:
            ShapeError: if the image is smaller than a patch or not RGB
        """
        if pixels.ndim != 4 or pixels.shape[1] != 3 or min(pixels.shape[-2:]) < self.patch_px:
            raise ShapeError(f"pixels must be (B, 3, H, W) with sides of at least {self.patch_px}, but got {tuple(pixels.shape)}")
        patches = self._visual.conv1(pixels)
        grid_hw = (patches.shape[2], patches.shape[3])
        class_token = self._visual.class_embedding.expand(len(patches), 1, -1)
        tokens = torch.cat([class_token, patches.flatten(2).transpose(1, 2)], dim=1) + self._positions(grid_hw)
        tokens = self._visual.ln_pre(tokens)
        mean_attention: Tensor | None = None
        for number, block in enumerate(self._blocks[:-1], start=1):
            if number in map_blocks:
                tokens, attn = _block_with_map(block, tokens)
                mean_attention = running_mean(mean_attention, attn, len(map_blocks))
            else:
                tokens = self._run_block(block, tokens)
        return Trunk(tokens, *_project(self._blocks[-1], tokens), grid_hw, mean_attention)

    @torch.inference_mode()
    def finish(self, trunk: Trunk, gathered: Tensor, *, residual_arch: bool) -> Tensor:
        """Runs the last block from its attention to its end, and projects into the space shared with text.

        Args:
            trunk: from :meth:`trunk`
            gathered: values gathered by the last block's attention, ``(B, heads, N, d)``
            residual_arch: whether the residual connection and the MLP are kept

        Returns:
            tokens, ``(B, N, D)``, class token first, not normalised
        """
        block = self._blocks[-1]
        tokens = _merged(block, gathered)
        if residual_arch:
            tokens = _with_residual(block, trunk.tokens, tokens)
        return linear(self._visual.ln_post(tokens), self._visual.proj.T, None)

    @torch.inference_mode()
    def encode_text(self, phrases: Sequence[str]) -> Tensor:
        """Encodes phrases with OpenAI's 80 prompt templates.

        Args:
            phrases: ``Q`` phrases

        Returns:
            text features, ``(Q, D)`` float32, L2-normalised

        Source:
            Radford et al., ICML 2021 (CLIP, MIT)
        """
        templates = open_clip.OPENAI_IMAGENET_TEMPLATES
        embeddings = self._embedded([template(phrase) for phrase in phrases for template in templates])
        return ensemble(embeddings.unflatten(0, (len(phrases), len(templates)))).to(self.device)

    @torch.inference_mode()
    def encode_sentences(self, sentences: Sequence[str]) -> Tensor:
        """Encodes sentences as they are, without templates.

        Args:
            sentences: ``n`` sentences

        Returns:
            text features, ``(n, D)`` float32 on the CPU, L2-normalised
        """
        return functional.normalize(self._embedded(sentences), dim=-1)

    def _embedded(self, sentences: Sequence[str]) -> Tensor:
        """Embeds sentences, those of similar length together: ``(n, D)`` float32 on the CPU, of any norm."""
        tokens = self.tokenizer(list(sentences))
        embeddings = torch.empty(len(sentences), self.feature_width)
        for batch in _lengths(tokens).argsort().split(_TEXTS_AT_ONCE):
            embeddings[batch] = self._embed(tokens[batch]).float().cpu()
        return embeddings

    def _embed(self, tokens: Tensor) -> Tensor:
        """Embeds sentences, ``(n, context)`` -> ``(n, D)``, without the padding after their ends.

        CLIP's causal attention ignores later tokens, so the result is the same, in 0.08 of open_clip's time
        (``benchmarks/results/kernels.json``).
        """
        model, blocks = self.model, self.model.transformer.resblocks
        plain = all(type(block) is ResidualAttentionBlock for block in blocks)
        if (
            not plain
            or model.text_pool_type != "argmax"
            or model.attn_mask is None
            or not isinstance(model.text_projection, Tensor)
        ):
            whole: Tensor = model.encode_text(tokens.to(self.device))
            return whole
        tokens = tokens[:, : int(_lengths(tokens).max())].to(self.device)
        states = model.token_embedding(tokens) + model.positional_embedding[: tokens.shape[1]]
        for block in blocks:
            states = _run_block(block, states, causal=True)
        ends = states[torch.arange(len(tokens)), tokens.argmax(dim=1)]
        embedded: Tensor = model.ln_final(ends) @ model.text_projection
        return embedded

    def _positions(self, grid_hw: tuple[int, int]) -> Tensor:
        """Returns the trained position table, resampled unless the grid has the trained size.

        Differs:
            the release compares token counts, so a 7x28 grid would use the 14x14 table
        """
        table: Tensor = self._visual.positional_embedding
        trained_hw = self._visual.grid_size
        if grid_hw == tuple(trained_hw):
            return table
        patches = table[1:].T.unflatten(1, trained_hw)[None]
        # The published numbers were measured with this 0.1, which shifts the sampling grid a little.
        factors = [(side + 0.1) / trained for side, trained in zip(grid_hw, trained_hw, strict=True)]
        resampled = functional.interpolate(
            patches, scale_factor=factors, mode="bicubic", align_corners=False, recompute_scale_factor=False
        )
        return torch.cat([table[:1], resampled[0].flatten(1).T])


def _lengths(tokens: Tensor) -> Tensor:
    """Counts the tokens of each sentence up to its end token, which has the highest id."""
    return tokens.argmax(dim=1) + 1


def _run_block(block: ResidualAttentionBlock, tokens: Tensor, causal: bool = False) -> Tensor:
    """Runs a whole block."""
    q, k, v = _project(block, tokens)
    gathered = functional.scaled_dot_product_attention(q, k, v, is_causal=causal)
    return _with_residual(block, tokens, _merged(block, gathered))


def _block_with_map(block: ResidualAttentionBlock, tokens: Tensor) -> tuple[Tensor, Tensor]:
    """Runs a whole block and keeps its attention, ``(B, heads, N, N)``."""
    q, k, v = _project(block, tokens)
    attn = attention_map(q, k, STRATEGIES["vanilla"])
    return _with_residual(block, tokens, _merged(block, attn @ v)), attn


def _project(block: ResidualAttentionBlock, tokens: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Computes the queries, keys and values of a block, each ``(B, heads, N, d)``."""
    attn = block.attn
    projected = linear(block.ln_1(tokens), attn.in_proj_weight, attn.in_proj_bias)
    q, k, v = projected.unflatten(2, (3, attn.num_heads, -1)).permute(2, 0, 3, 1, 4)
    return q, k, v


def _merged(block: ResidualAttentionBlock, gathered: Tensor) -> Tensor:
    """Concatenates the heads' values and projects them, ``(B, N, D)``."""
    return _apply(block.attn.out_proj, gathered.transpose(1, 2).flatten(2))


def _with_residual(block: ResidualAttentionBlock, tokens: Tensor, attended: Tensor) -> Tensor:
    """Runs the rest of a block after its attention: both residual connections and the MLP."""
    tokens = tokens + block.ls_1(attended)
    result: Tensor = tokens + block.ls_2(_mlp(block.mlp, block.ln_2(tokens)))
    return result


def _mlp(mlp: Any, tokens: Tensor) -> Tensor:
    if isinstance(mlp.gelu, nn.GELU) and mlp.gelu.approximate == "none":
        return _apply(mlp.c_proj, _apply(mlp.c_fc, tokens, gelu=True))
    hidden = _apply(mlp.c_fc, tokens)
    if isinstance(mlp.gelu, QuickGELU):
        return _apply(mlp.c_proj, hidden.mul_(torch.sigmoid(1.702 * hidden)))
    return _apply(mlp.c_proj, mlp.gelu(hidden))


def _apply(layer: nn.Linear, tokens: Tensor, gelu: bool = False) -> Tensor:
    return linear(tokens, layer.weight, layer.bias, gelu=gelu)
