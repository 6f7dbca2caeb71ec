"""Files for the board: macros, a window table that compiles and equals Python's, the length of the stream, refusals, ST's tool."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import scipy.signal

from downstream.speech_enhancement import deployment
from downstream.speech_enhancement.deployment import Deployment, deploy, stream_parameters
from downstream.speech_enhancement.operations import RUNS, saved_models
from tests.downstream.speech_enhancement.enhancer import Enhancer, context_of, made_up
from utility.audio.stft import Stft, StftOptions
from utility.errors import ConfigError, UsageError

SECTION = {"frames_per_patch": 30, "lookahead_frames": 5, "output_silence_threshold": -50, "build_conf": "N6 Audio Thread X"}
PROGRAM = """
#include <stdio.h>
#include "user_mel_tables.h"
#include "ai_model_config.h"
int main(void) {
    for (unsigned n = 0; n < CTRL_X_CUBE_AI_SPECTROGRAM_WINDOW_LENGTH; n++) printf("%.9e\\n", CTRL_X_CUBE_AI_SPECTROGRAM_WIN[n]);
    printf("%u %u %u %u %.1f %.1f %s\\n", CTRL_X_CUBE_AI_SPECTROGRAM_HOP_LENGTH, CTRL_X_CUBE_AI_SPECTROGRAM_NFFT,
           CTRL_X_CUBE_AI_SPECTROGRAM_COL_NO_OVL, CTRL_X_CUBE_AI_SPECTROGRAM_COL_OVL, CTRL_X_CUBE_AI_SENSOR_ODR,
           CTRL_X_CUBE_AI_AUDIO_OUT_DB_THRESHOLD, CTRL_X_CUBE_AI_SENSOR_NAME);
    return 0;
}
"""


@pytest.fixture(scope="module")
def quantized(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The ONNX files of a small network, int8 of 40 frames among them."""
    expert = Enhancer(tmp_path_factory.mktemp("int8"), {"quantization": {"static_sequence_length": 40}}, {"train": made_up(2)})
    RUNS["quantize"](expert, context_of(expert))
    return saved_models(expert)


@pytest.fixture
def expert(tmp_path: Path, quantized: Path) -> Enhancer:
    made = Enhancer(tmp_path / "run", {"deployment": dict(SECTION)})
    shutil.copytree(quantized, saved_models(made))
    return made


def test_header_and_table_compile_and_equal_the_transform(expert: Enhancer, tmp_path: Path):
    scores = deploy(expert, context_of(expert))
    assert scores["delay"].value == 365.0  # 34 hops and a window
    folder = expert.expdir / "C_header"
    assert {path.name for path in folder.iterdir()} == {
        *("ai_model_config.h", "user_mel_tables.h", "user_mel_tables.c", "streaming.json", "network.onnx")
    }
    (tmp_path / "main.c").write_text(PROGRAM)
    words = ["gcc", "-std=c99", "-Wall", "-Wextra", "-Werror", "-DPREPROC_FLOAT_T=float", f"-I{folder}", "main.c"]
    subprocess.run([*words, str(folder / "user_mel_tables.c"), "-o", "main"], cwd=tmp_path, check=True)
    *numbers, told = subprocess.run([str(tmp_path / "main")], capture_output=True, text=True, check=True).stdout.splitlines()
    window = scipy.signal.get_window("hann", 400).astype(np.float32)
    assert np.array_equal(np.array(numbers, np.float32), window) and window[200] == 1
    assert told == "160 512 30 5 16000.0 -50.0 imp34dt05"


def test_every_macro_of_the_application_is_there(expert: Enhancer):
    deploy(expert, context_of(expert))
    names = re.findall(r"^#define (\S+) ", (expert.expdir / "C_header/ai_model_config.h").read_text(), re.MULTILINE)
    prefixed = (
        *("MODEL_NAME", "MODE_NB_OUTPUT", "MODE_OUTPUT_1", "SENSOR_TYPE", "AUDIO_OUT", "SENSOR_NAME", "SENSOR_ODR", "PREPROC", "POSTPROC"),
        *(f"SPECTROGRAM_{name}" for name in ("HOP_LENGTH", "NFFT", "WINDOW_LENGTH", "COL_NO_OVL", "COL_OVL", "WIN")),
        "AUDIO_OUT_DB_THRESHOLD",
    )
    assert set(names) == {"CTRL_AI_HW_SELECT", "CTRL_SEQUENCE", *(f"CTRL_X_CUBE_AI_{name}" for name in prefixed)}


def test_stream_parameters():
    stream = stream_parameters(StftOptions(sample_rate=48000, n_fft=1024, hop_length=480, win_length=1024), Deployment(58 - 28, 14))
    assert (stream["columns"], stream["samples_per_patch"], stream["delay_ms"]) == (58, 14400, pytest.approx(451.333, abs=1e-3))
    json.dumps(stream)


def test_files_are_copied_into_the_c_project(expert: Enhancer, tmp_path: Path, caplog):
    (tmp_path / "project/Inc").mkdir(parents=True)
    (tmp_path / "project/Src").mkdir()
    expert.settings["deployment"]["c_project_path"] = str(tmp_path / "project")
    deploy(expert, context_of(expert))
    assert {str(path.relative_to(tmp_path / "project")) for path in (tmp_path / "project").rglob("*.*")} == {
        *("Inc/ai_model_config.h", "Inc/user_mel_tables.h", "Src/user_mel_tables.c")
    }
    assert "takes ST's tools" in caplog.text
    expert.settings["deployment"]["c_project_path"] = str(tmp_path / "nowhere")
    deploy(expert, context_of(expert))
    assert "there is no folder" in caplog.text


def test_what_the_board_cannot_do_is_refused(expert: Enhancer):
    wrong = {
        "frames_per_patch": 0,
        "lookahead_frames": -1,
        "output_silence_threshold": 3,
        "IDE": "IAR",
        "build_conf": "N6 Audio",
        "hardware_setup": {"serie": "STM32H7", "board": "NUCLEO"},
    }
    with pytest.raises(ConfigError) as caught:
        deploy(Enhancer(expert.expdir, {"deployment": wrong}), context_of(expert))
    for said in ("frames_per_patch must", "lookahead_frames must", "threshold must", "'IAR' is not 'GCC'", "N6 Audio", "NUCLEO", "STM32H7"):
        assert said in str(caught.value)
    odd = Enhancer(expert.expdir, expert.settings, stft=Stft(StftOptions(sample_rate=22050, n_fft=500, win_length=400)))
    with pytest.raises(ConfigError, match="sample_rate must be 16000 or 48000, not 22050, for the board; n_fft must be a power of two"):
        deploy(odd, context_of(odd))


def test_the_file_must_be_int8_and_as_long_as_the_stream(expert: Enhancer):
    expert.settings["deployment"] |= {"lookahead_frames": 14}
    with pytest.raises(ConfigError, match=r"takes 40 spectra, and the stream .* = 58: quantize with static_sequence_length 58"):
        deploy(expert, context_of(expert))
    models = saved_models(expert)
    for name, said in (("best_trained_model.onnx", "is a float model"), ("quantized_model_int8.onnx", "takes any number of spectra")):
        expert.settings["model"] = {"onnx_path": str(models / name)}
        with pytest.raises(ConfigError, match=said):
            deploy(expert, context_of(expert))
    with pytest.raises(UsageError, match="-m evaluate -t quantize writes it"):
        deploy(Enhancer(expert.expdir / "empty", {}), context_of(expert))


def test_sts_compiler_is_used_where_it_is_installed(expert: Enhancer, tmp_path: Path):
    tool = tmp_path / "stedgeai"
    report = '{"memory_footprint": {"activations": 102400, "weights": 1024}}'
    tool.write_text(f"#!/bin/sh\nwhile [ \"$1\" != --output ]; do shift; done\necho '{report}' > $2/network_report.json\n")
    tool.chmod(0o755)
    expert.settings["tools"] = {"stedgeai": {"path_to_stedgeai": str(tool), "on_cloud": True}}
    scores = deploy(expert, context_of(expert))
    assert scores["stedgeai_activations"].value == 100 and (expert.expdir / "stm32ai_files/network_report.json").is_file()
    assert deployment.FOLDER == "C_header"
