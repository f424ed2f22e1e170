"""Held against open_clip itself; weights come from files in the formats it knows."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import open_clip
import pytest
import torch
from safetensors.torch import load_file, save_file

from fiftyone_resclip.clip import backbone as module
from fiftyone_resclip.clip.backbone import Backbone
from fiftyone_resclip.clip.supported import refusal, supported_architectures
from fiftyone_resclip.clip.weights import is_at_hand
from fiftyone_resclip.config import STRATEGIES
from fiftyone_resclip.core.attention import attend
from fiftyone_resclip.errors import BackboneError, ConfigError, ShapeError, WeightsError

GOLDEN = Path(__file__).parents[1] / "golden" / "weights.safetensors"
TINY = Path(module.__file__).parents[1] / "tiny"


@pytest.fixture(scope="module")
def pixels() -> torch.Tensor:
    return torch.randn(2, 3, 96, 96, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def small_architecture(tmp_path: Path) -> Path:
    """A JSON config of the goldens' shapes."""
    config = {
        "embed_dim": 64,
        "quick_gelu": True,
        "vision_cfg": {"image_size": 224, "layers": 12, "width": 128, "patch_size": 16},
        "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 64, "heads": 1, "layers": 2},
    }
    path = tmp_path / "my-small-vit.json"
    path.write_text(json.dumps(config))
    return path


def test_the_class_token_under_vanilla_attention_is_open_clips_image_feature(tiny: Backbone, pixels: torch.Tensor) -> None:
    trunk = tiny.trunk(pixels)
    tokens = tiny.finish(trunk, attend(trunk.q, trunk.k, trunk.v, STRATEGIES["vanilla"]), residual_arch=True)
    with torch.inference_mode():
        torch.testing.assert_close(tokens[:, 0], tiny.model.encode_image(pixels), atol=1e-5, rtol=1e-5)


def test_the_attention_map_is_the_mean_of_the_blocks_and_does_not_change_the_trunk(tiny: Backbone, pixels: torch.Tensor) -> None:
    plain, both = tiny.trunk(pixels), tiny.trunk(pixels, map_blocks=(6, 8))
    assert plain.mean_attention is None
    assert both.mean_attention is not None
    torch.testing.assert_close(both.tokens, plain.tokens, atol=1e-5, rtol=1e-5)
    single = [tiny.trunk(pixels, map_blocks=(b,)).mean_attention for b in (6, 8)]
    torch.testing.assert_close(both.mean_attention, (single[0] + single[1]) / 2, atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(both.mean_attention.sum(-1), torch.ones(both.mean_attention.shape[:-1]))


def test_positions_are_resampled_unless_the_grid_is_the_trained_one(tiny: Backbone) -> None:
    assert tiny._positions((12, 12)) is tiny.model.visual.positional_embedding
    other = tiny._positions((8, 18))  # as many patches, another grid
    assert other.shape == tiny._positions((12, 12)).shape
    assert not torch.equal(other, tiny._positions((12, 12)))
    assert torch.equal(other[0], tiny._positions((12, 12))[0])


def test_remainder_pixels_are_dropped(tiny: Backbone, pixels: torch.Tensor) -> None:
    trunk = tiny.trunk(pixels[..., :93, :90])
    assert trunk.grid_hw == (11, 11)
    torch.testing.assert_close(trunk.tokens, tiny.trunk(pixels[..., :88, :88]).tokens)


def test_text_is_the_normalised_mean_over_80_templates(tiny: Backbone) -> None:
    phrase = "striped red cloth"
    templates = open_clip.OPENAI_IMAGENET_TEMPLATES
    assert len(templates) == 80
    with torch.inference_mode():
        each = tiny.model.encode_text(open_clip.tokenize([t(phrase) for t in templates]), normalize=True)
    expected = each.mean(0) / each.mean(0).norm()
    torch.testing.assert_close(tiny.encode_text(["snow", phrase])[1], expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("suffix", [".safetensors", ".pt"])
def test_a_checkpoint_with_openais_names_loads_into_a_json_architecture(
    small_architecture: Path, tmp_path: Path, suffix: str
) -> None:
    state = load_file(GOLDEN)
    state["token_embedding.weight"] = torch.zeros(49408, 64)
    path = tmp_path / f"weights{suffix}"
    save_file(state, path) if suffix == ".safetensors" else torch.save(state, path)
    loaded = Backbone.load(str(small_architecture), str(path), device="cpu")
    assert (loaded.n_blocks, loaded.patch_px) == (12, 16)
    assert torch.equal(loaded.model.visual.proj, state["visual.proj"].float())
    assert not any(p.requires_grad for p in loaded.model.parameters())


@pytest.mark.parametrize("wanted", [False, True])
def test_a_tag_gets_the_activation_it_was_trained_with(
    small_architecture: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wanted: bool
) -> None:
    config = {**json.loads(small_architecture.read_text()), "quick_gelu": False}
    small_architecture.write_text(json.dumps(config))
    state = load_file(GOLDEN)
    state["token_embedding.weight"] = torch.zeros(49408, 64)
    save_file(state, tmp_path / "weights.safetensors")
    tag = {"file": str(tmp_path / "weights.safetensors"), "mean": (0.5,) * 3, "std": (0.5,) * 3, "quick_gelu": wanted}
    monkeypatch.setitem(open_clip.pretrained._PRETRAINED, "my-small-vit", {"mine": tag})
    loaded = Backbone.load(str(small_architecture), "mine", device="cpu")
    activation = type(loaded.model.visual.transformer.resblocks[0].mlp.gelu)
    assert activation is (open_clip.transformer.QuickGELU if wanted else torch.nn.GELU)
    white = loaded.normalise(torch.full((1, 3, 16, 16), 255, dtype=torch.uint8))
    torch.testing.assert_close(white, torch.ones(1, 3, 16, 16))  # the tag's mean and std, too


def test_loading_leaves_logging_as_it_was() -> None:
    code = """
import logging
from fiftyone_resclip import Backbone
root = logging.getLogger()
before = root.handlers[:], root.level
Backbone.load("resclip-tiny", device="cpu")
print((root.handlers[:], root.level) == before)
"""
    run = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert (run.stdout.strip(), run.stderr) == ("True", "")


def test_a_folder_with_config_and_weights_loads(tmp_path: Path) -> None:
    for name in ("open_clip_config.json", "model.safetensors"):
        shutil.copy(TINY / name, tmp_path)
    assert Backbone.load(str(tmp_path), device="cpu").n_blocks == 12


def test_random_weights_are_the_seeds() -> None:
    first, again, other = (Backbone.random("ViT-B-32-quickgelu", seed).model.visual.proj for seed in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("RN50", "its image tower is a ResNet"),
        ("convnext_base", "its image tower is a timm model"),
        ("coca_ViT-B-32", "it is a CoCa"),
        ("roberta-ViT-B-32", "its text tower is not open_clip's own"),
        ("ViT-H-14-CLIPA", "its image tower is not trained on the class token"),
        ("ViT-B-16-SigLIP", "its image tower is a timm model"),
    ],
)
def test_what_is_no_plain_vit_is_refused_before_anything_is_fetched(name: str, reason: str) -> None:
    with pytest.raises(BackboneError, match=f"must be a plain CLIP ViT with a class token, but {reason}; use for example"):
        Backbone.load(name, "openai")


def test_a_model_object_without_a_vit_is_refused() -> None:
    with pytest.raises(BackboneError, match="but it is a Linear"):
        Backbone(torch.nn.Linear(1, 1), None)


@pytest.mark.parametrize(
    ("content", "message"), [("{", "must be a readable JSON file"), ("[]", "must have embed_dim, vision_cfg")]
)
def test_a_broken_json_config_is_refused_and_forgotten(
    small_architecture: Path, tmp_path: Path, content: str, message: str
) -> None:
    broken = tmp_path / "broken.json"
    broken.write_text(content)
    with pytest.raises(BackboneError, match=message):
        Backbone.load(str(broken), "openai")
    with pytest.raises(WeightsError, match="needs pretrained"):  # the next one is read as if nothing had been
        Backbone.load(str(small_architecture))


@pytest.mark.parametrize(
    "vision", [{"pool_type": "avg"}, {"qk_norm": True}, {"attentional_pool": True}, {"block_type": "custom"}]
)
def test_a_folder_or_an_object_with_another_tower_is_refused(tmp_path: Path, vision: dict[str, object]) -> None:
    config = json.loads((TINY / "open_clip_config.json").read_text())
    config["model_cfg"]["vision_cfg"].update(vision)
    (tmp_path / "open_clip_config.json").write_text(json.dumps(config))
    with pytest.raises(BackboneError, match="must be a plain CLIP ViT with a class token, but its"):
        Backbone.load(str(tmp_path), device="cpu")
    with pytest.raises(BackboneError, match="but its blocks or its pooling are not CLIP's"):
        Backbone(open_clip.CLIP(**config["model_cfg"]), None)


def test_what_is_called_supported_can_be_built_and_the_rest_has_a_reason() -> None:
    supported = supported_architectures()
    assert {"ViT-B-32", "ViT-B-16-quickgelu", "ViT-L-14", "ViT-L-14-336", "ViT-H-14"} <= set(supported)
    for name in supported:
        config = open_clip.get_model_config(name)
        with torch.device("meta"):
            assert isinstance(open_clip.CLIP(**config).visual, open_clip.transformer.VisionTransformer), name
    assert all(refusal(open_clip.get_model_config(name)) for name in open_clip.list_models() if name not in supported)


def test_the_page_of_architectures_is_true() -> None:
    page = Path(module.__file__).parents[2] / "docs" / "ARCHITECTURES.md"
    written = page.read_text(encoding="utf-8")
    if f"open_clip {open_clip.__version__};" in written:
        command = [sys.executable, "-m", "fiftyone_resclip", "models", "architectures"]
        printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        assert written == printed, "run: fiftyone-resclip models architectures > docs/ARCHITECTURES.md"
    supported = written.split("## Refused")[0]
    listed = [line.split("|")[1].strip() for line in supported.splitlines() if line.startswith("| ViT")]
    assert len(listed) > 30
    assert set(listed) <= set(supported_architectures())


@pytest.mark.parametrize(
    ("name", "px", "heads"),
    [("ViT-B-32-quickgelu", 32, 12), ("ViT-B-16", 16, 12), ("ViT-L-14-336", 14, 16), ("ViT-H-14", 14, 16)],
)
def test_towers_of_other_shapes_run(name: str, px: int, heads: int) -> None:
    config = open_clip.get_model_config(name)
    config["vision_cfg"]["layers"] = 3  # the shapes matter here, not the depth
    config["text_cfg"]["layers"] = 1
    clip = open_clip.CLIP(**{k: v for k, v in config.items() if k in ("embed_dim", "vision_cfg", "text_cfg", "quick_gelu")})
    tower = Backbone(clip, open_clip.get_tokenizer(name), name)
    trunk = tower.trunk(torch.randn(1, 3, 5 * px + 3, 7 * px), map_blocks=(1, 2))
    assert (tower.patch_px, trunk.grid_hw, trunk.q.shape[1]) == (px, (5, 7), heads)
    features = tower.finish(trunk, attend(trunk.q, trunk.k, trunk.v, STRATEGIES["naclip"]), residual_arch=False)
    assert features.shape == (1, 36, tower.feature_width)
    assert features.isfinite().all()


def test_a_compiled_trunk_computes_the_same(pixels: torch.Tensor) -> None:
    plain, compiled = (Backbone.load("resclip-tiny", device="cpu") for _ in range(2))
    compiled.compile(backend="eager")
    torch.testing.assert_close(compiled.trunk(pixels, (6,)).tokens, plain.trunk(pixels, (6,)).tokens)


def test_weights_that_are_not_finite_are_refused(tmp_path: Path) -> None:
    state = load_file(TINY / "model.safetensors")
    state["visual.proj"][0, 0] = float("nan")
    save_file(state, tmp_path / "model.safetensors")
    shutil.copy(TINY / "open_clip_config.json", tmp_path)
    with pytest.raises(WeightsError, match="must be finite, but visual.proj is not"):
        Backbone.load(str(tmp_path), device="cpu")


@pytest.mark.parametrize(
    ("model", "pretrained", "error", "message"),
    [
        ("resclip-vit-b16", None, BackboneError, "model 'resclip-vit-b16' is unknown; did you mean 'resclip-vit-b-16'?"),
        ("ViT-B-16-quickgelu", "opnai", WeightsError, "did you mean 'openai'?"),
        ("ViT-B-16", None, WeightsError, "model 'ViT-B-16' needs pretrained .*: a checkpoint file or one of .*openai"),
        ("ViT-B-16", "nowhere.pt", WeightsError, "'nowhere.pt' does not exist"),
        ("nowhere.json", None, BackboneError, "model config 'nowhere.json' must be a readable JSON file"),
    ],
)
def test_unknown_models_and_weights(model: str, pretrained: str | None, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        Backbone.load(model, pretrained)


def test_a_checkpoint_that_does_not_fit(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="must fit 'ViT-B-16', but could not be loaded: .*"):
        Backbone.load("ViT-B-16", str(TINY / "model.safetensors"), device="cpu")
    broken = tmp_path / "broken.pt"
    broken.write_bytes(b"no weights")
    with pytest.raises(WeightsError, match="could not be loaded"):
        Backbone.load("ViT-B-16", str(broken), device="cpu")


def test_without_network_the_message_names_the_file_and_the_way_round() -> None:
    with pytest.raises(WeightsError, match="could not be fetched .* get the file .*--model ViT-B-32-quickgelu --pretrained FILE"):
        Backbone.load("resclip-vit-b-32", device="cpu")
    with pytest.raises(WeightsError, match="--model ViT-B-32-quickgelu --pretrained FILE"):
        Backbone.load("ViT-B-32", "openai", device="cpu")  # a file can't tell that it wants QuickGELU


def test_bad_pixels_and_blocks_are_refused(tiny: Backbone) -> None:
    for shape in ((1, 1, 96, 96), (1, 3, 7, 96), (3, 96, 96)):
        with pytest.raises(ShapeError, match=r"pixels must be \(B, 3, H, W\) with sides of at least 8"):
            tiny.trunk(torch.zeros(shape))
    with pytest.raises(ConfigError, match="must come before the last of 12 blocks"):
        tiny.check_blocks((9, 12))


def test_a_model_is_at_hand_once_its_weights_are_in_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    assert is_at_hand("resclip-tiny") and not is_at_hand("resclip-vit-b-16")
    repository = tmp_path / "models--timm--vit_base_patch16_clip_224.openai"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text("abc")
    (repository / "snapshots" / "abc").mkdir(parents=True)
    (repository / "snapshots" / "abc" / "open_clip_model.safetensors").write_bytes(b"")
    assert is_at_hand("resclip-vit-b-16") and not is_at_hand("resclip-vit-b-32")
