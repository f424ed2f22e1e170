from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest

from fiftyone_resclip.config import PAMR, RCS, SFR, STRATEGIES, ResCLIPConfig, Window
from fiftyone_resclip.errors import ConfigError
from fiftyone_resclip.presets import MODES, PRESETS, preset


def test_presets_hold_the_published_numbers() -> None:
    rows = {
        name: (c.window is None, c.prob_threshold, c.sfr.threshold, c.rcs.gain, c.rcs.mix, c.sfr.gain, c.sfr.mix, c.short_side_px)
        for name, c in PRESETS.items()
        if c.sfr and c.rcs
    }
    assert rows == {
        "voc21": (True, 0.1, 0.50, 2.0, 0.3, 2.2, 0.7, 336),
        "voc20": (True, 0, 0.10, 2.0, 0.6, 2.1, 0.6, 336),
        "context60": (False, 0.1, 0.30, 2.0, 0.3, 1.8, 0.7, 336),
        "context59": (False, 0, 0.25, 2.0, 0.4, 1.8, 0.7, 336),
        "coco_object": (False, 0.1, 0.11, 2.0, 0.4, 1.8, 0.7, 336),
        "coco_stuff": (False, 0, 0.11, 2.0, 0.4, 1.8, 0.7, 336),
        "ade20k": (False, 0, 0.25, 2.0, 0.3, 2.1, 0.7, 336),
        "cityscapes": (False, 0, 0.10, 2.0, 0.2, 2.1, 0.6, 560),
    }
    fast = PRESETS["fast"]
    assert fast.sfr is None and fast.rcs == RCS(2.0, 0.3)
    for name, config in PRESETS.items():
        if name == "fast":
            continue
        assert (config.strategy, config.residual_arch, config.pamr, config.logit_scale) == ("naclip", False, None, 40)
        assert config.sfr and (config.sfr.sigma, config.sfr.path_rule, config.sfr.pamr) == (5, True, PAMR(10, (8, 16)))
        assert config.rcs and config.rcs.blocks == (6, 7, 8, 9)
        assert config.window in (None, Window(224, 112))


def test_sharp_is_naclip_with_final_pamr_and_every_mode_varies_every_preset() -> None:
    sharp = preset("voc21").varied(MODES["sharp"].settings)
    assert sharp == dataclasses.replace(preset("voc21").varied(MODES["naclip"].settings), pamr=PAMR(10, (8, 16)))
    for config in PRESETS.values():
        varied = [config.varied(mode.settings) for mode in MODES.values()]
        assert [each.pamr is not None for each in varied] == [name == "sharp" for name in MODES]


@pytest.mark.parametrize("name", PRESETS)
def test_a_config_survives_json(name: str) -> None:
    config = dataclasses.replace(PRESETS[name], pamr=PAMR(3, (1, 2)), rcs=None)
    assert ResCLIPConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config


def test_single_settings_vary_a_preset_and_leave_the_rest() -> None:
    voc = preset("voc21")
    varied = voc.varied({"sfr": {"path_rule": False, "pamr": {"steps": 3}}, "prob_threshold": 0.2, "rcs": None})
    assert voc.sfr is not None
    sfr = dataclasses.replace(voc.sfr, path_rule=False, pamr=PAMR(3, (8, 16)))
    assert varied == dataclasses.replace(voc, sfr=sfr, prob_threshold=0.2, rcs=None)
    assert varied.varied({"rcs": {"mix": 0.1}}).rcs == RCS(mix=0.1)


@pytest.mark.parametrize("name", STRATEGIES)
def test_each_strategy_has_the_architecture_it_was_published_with(name: Any) -> None:
    assert ResCLIPConfig(strategy=name).residual_arch == (name in ("vanilla", "sclip"))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: preset("voc12"), "preset 'voc12' is unknown; did you mean 'voc21'?"),
        (lambda: ResCLIPConfig(strategy="nacilp"), "did you mean 'naclip'?"),  # type: ignore[arg-type]
        (lambda: ResCLIPConfig(arch="redisual"), "did you mean 'residual'?"),  # type: ignore[arg-type]
        (lambda: ResCLIPConfig(strategy="sclip", arch="bare"), "strategy 'sclip' runs with arch 'residual' only"),
        (lambda: ResCLIPConfig(prob_threshold=1.2), r"prob_threshold must be a number in \[0, 1\], but got 1.2"),
        (lambda: ResCLIPConfig(prob_threshold=float("nan")), r"prob_threshold must be a number in \[0, 1\]"),
        (lambda: SFR(threshold=-0.1), r"threshold must be a number in \[0, 1\], but got -0.1"),
        (lambda: RCS(mix=2), r"mix must be a number in \[0, 1\], but got 2"),
        (lambda: RCS(gain=0), "gain must be a number above 0, but got 0"),
        (lambda: RCS(blocks=(0, 1)), "blocks must be a whole number of at least 1, but got 0"),
        (lambda: RCS(blocks=(6, 6)), "blocks must be different from each other"),
        (lambda: RCS(blocks=6), "blocks must be a list of at least one whole number, but got 6"),  # type: ignore[arg-type]
        (lambda: RCS(blocks=(6.7,)), "blocks must be a whole number of at least 1, but got 6.7"),  # type: ignore[arg-type]
        (lambda: SFR(sigma=0), "sigma must be a number above 0"),
        (lambda: ResCLIPConfig(remainder="padd"), "remainder 'padd' is unknown; did you mean 'pad'?"),  # type: ignore[arg-type]
        (lambda: ResCLIPConfig(precision="fp16"), "precision 'fp16' is unknown"),  # type: ignore[arg-type]
        (lambda: ResCLIPConfig(min_area=1.5), r"min_area must be a number in \[0, 1\]"),
        (lambda: PAMR(steps=-1), "steps must be a whole number of at least 0, but got -1"),
        (lambda: PAMR(dilations=()), "dilations must be a list of at least one whole number"),
        (lambda: PAMR(dilations=(0,)), "dilations must be a whole number of at least 1"),
        (lambda: Window(0, 1), "crop_px must be a whole number of at least 1"),
        (lambda: Window(100, 200), "stride_px must be at most crop_px"),
        (lambda: ResCLIPConfig.from_dict({"prob_thresold": 0.1}), "did you mean 'prob_threshold'?"),
        (lambda: ResCLIPConfig.from_dict({"sfr": {"mx": 0.1}}), "setting of SFR 'mx' is unknown; did you mean 'mix'?"),
        (lambda: ResCLIPConfig.from_dict({"sfr": 3}), r"sfr must be SFR\(...\), a mapping of its settings or null, but got 3"),
        (lambda: ResCLIPConfig(rcs="no"), r"rcs must be RCS\(...\), a mapping of its settings or null, but got 'no'"),  # type: ignore[arg-type]
        (lambda: SFR(pamr=3), r"pamr must be PAMR\(...\), a mapping of its settings or null, but got 3"),  # type: ignore[arg-type]
        (lambda: SFR(path_rule="no"), "path_rule must be True or False, but got 'no'"),  # type: ignore[arg-type]
        (lambda: ResCLIPConfig.from_dict(3), "settings must be a mapping, such as .*, but got 3"),  # type: ignore[arg-type]
        (lambda: ResCLIPConfig().varied([]), "settings must be a mapping, such as .*, but got \\[\\]"),  # type: ignore[arg-type]
        (lambda: preset([]), "preset \\[\\] is unknown"),  # type: ignore[arg-type]
    ],
)
def test_bad_settings_are_refused_with_a_remedy(make: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        make()
