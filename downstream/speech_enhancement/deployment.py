"""What ST's application on the STM32N6570-DK needs beside its own code: the int8 file, parameters of the stream, window table, C header.

The application, the compiler for its NPU and the flashing are ST's (STM32CubeIDE, ST Edge AI Core, STM32CubeProgrammer) and not part of
this toolkit. Names of files and macros are those of the STM32 model zoo (spec: speech-enhancement.md A11); nothing ran on a board here.
"""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from downstream.interfaces import RunContext, Score
from utility.audio.stft import StftOptions
from utility.errors import ConfigError, UsageError, did_you_mean

from .onnx import stedgeai
from .onnx.options import optional_path, section_of
from .onnx.quantization import STATIC
from .onnx.session import OnnxMask

log = logging.getLogger(__name__)

FOLDER, CONFIG_HEADER, TABLES, STREAM, MODEL = "C_header", "ai_model_config.h", "user_mel_tables", "streaming.json", "network.onnx"
BOARD, SERIE, IDE = "STM32N6570-DK", "STM32N6", "GCC"
BUILDS = tuple(f"N6 Audio {system}{power}" for system in ("Bare Metal", "Thread X") for power in ("", " Low Power"))
_RATES = (16000, 48000)
_BY_HAND = (
    "%s holds what the board's application needs; building and flashing it takes ST's tools (STM32CubeIDE, ST Edge AI Core), which this "
    "toolkit does not run"
)


@dataclass(frozen=True)
class Deployment:
    """The section ``deployment``.

    Args:
        frames_per_patch: spectra that an inference moves on by, and masks that are used of it.
        lookahead_frames: spectra before and behind them that it sees as well.
        output_silence_threshold: in dB; patches of less power are silenced. -100: none, 0: all.
        c_project_path: folder of ST's application; the files are copied into it if it is there.
        IDE: ``GCC``.
        verbosity: not used here.
        hardware_setup: ``serie``, ``board``, ``stlink_serial_number``.
        build_conf: one of :data:`BUILDS`.
    """

    frames_per_patch: int = 30
    lookahead_frames: int = 5
    output_silence_threshold: int = -50
    c_project_path: Any = None
    IDE: str = IDE
    verbosity: int = 1
    hardware_setup: Mapping[str, Any] = field(default_factory=dict)
    build_conf: str = BUILDS[0]

    def faults(self) -> list[str]:
        faults = [] if self.frames_per_patch > 0 else [f"frames_per_patch must be above 0, not {self.frames_per_patch}"]
        if self.lookahead_frames < 0:
            faults.append(f"lookahead_frames must not be negative, as {self.lookahead_frames} is")
        if not -100 <= self.output_silence_threshold <= 0:
            faults.append(f"output_silence_threshold must be from -100 to 0 dB, not {self.output_silence_threshold}")
        if self.build_conf not in BUILDS:
            faults.append(f"build_conf {self.build_conf!r} is unknown{did_you_mean(self.build_conf, BUILDS)}")
        wanted = {"serie": (self.hardware_setup.get("serie"), SERIE), "board": (self.hardware_setup.get("board"), BOARD)}
        wanted["IDE"] = (self.IDE, IDE)
        return faults + [
            f"{name} {value!r} is not {only!r}, the only one" for name, (value, only) in wanted.items() if value not in (None, only)
        ]

    @property
    def columns(self) -> int:
        """W, the spectra that one inference sees."""
        return self.frames_per_patch + 2 * self.lookahead_frames


def deploy(expert: Any, context: RunContext) -> dict[str, Score]:
    """Writes ``C_header/`` of the experiment; runs ST Edge AI Core where it is installed.

    Raises:
        ConfigError: fields that the application cannot honour, or a file of another length than the stream's.
        UsageError: there is no int8 file of a fixed length.
    """
    options = section_of(Deployment, expert.settings, "deployment")
    stft = expert.stft.options
    check_transform(stft)
    model = _model(expert, options)
    folder = expert.expdir / FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    window = expert.stft.window.double().cpu().numpy()
    texts = {CONFIG_HEADER: config_header(stft, options), f"{TABLES}.h": table_header(len(window)), f"{TABLES}.c": table_source(window)}
    stream = stream_parameters(stft, options)
    for name, text in {**texts, STREAM: json.dumps(stream, indent=4) + "\n"}.items():
        (folder / name).write_text(text, encoding="utf-8")
    shutil.copyfile(model, folder / MODEL)
    _into_project(options, folder)
    tool = {name: value for name, value in ((expert.settings.get("tools") or {}).get("stedgeai") or {}).items() if name != "on_cloud"}
    found = stedgeai.footprints(model, BOARD, tool, expert.expdir / "stm32ai_files") or {}
    log.warning(_BY_HAND, folder)
    scores = {"delay": Score(stream["delay_ms"], False, "ms"), "file_size": Score(model.stat().st_size / 1024, False, "KiB")}
    return scores | {f"stedgeai_{name}": Score(value, False, unit) for name, (value, unit) in found.items()}


def check_transform(stft: StftOptions) -> None:
    """Refuses what the application's own transform cannot do.

    Raises:
        ConfigError: all faults at once.
    """
    faults = [] if stft.sample_rate in _RATES else [f"sample_rate must be {' or '.join(map(str, _RATES))}, not {stft.sample_rate}"]
    if stft.n_fft & (stft.n_fft - 1):
        faults.append(f"n_fft must be a power of two, not {stft.n_fft}")
    if faults:
        raise ConfigError([f"{fault}, for the board" for fault in faults], "downstream_expert.preprocessing")


def _model(expert: Any, options: Deployment) -> Path:
    """The int8 file, if it is what the stream needs."""
    given = optional_path(expert.settings, "model", "onnx_path")
    folder = optional_path(expert.settings, "general", "saved_models_dir") or "saved_models"
    path = Path(given) if given else expert.expdir / folder / STATIC
    if not given and not path.is_file():
        raise UsageError(f"there is no {path}; -m evaluate -t quantize writes it, or model.onnx_path names such a file")
    mask = OnnxMask(path, expert.stft.options.bins)
    if not mask.quantized:
        raise ConfigError(f"{path} is a float model; the board takes the int8 one of a fixed length, {STATIC}", "downstream_expert.model")
    if mask.frames != options.columns:
        length = f"takes {mask.frames} spectra" if mask.frames else "takes any number of spectra"
        wanted = f"frames_per_patch + 2 lookahead_frames = {options.columns}"
        raise ConfigError(f"{path} {length}, and the stream {wanted}: quantize with static_sequence_length {options.columns}", "deployment")
    return path


def stream_parameters(stft: StftOptions, options: Deployment) -> dict[str, Any]:
    """How the stream is cut and what delay it has: the oldest frame of a patch waits for the patch, the frames ahead and its window."""
    frames = options.frames_per_patch + options.lookahead_frames
    samples = (frames - 1) * stft.hop_length + stft.win_length
    return {
        **{name: value for name, value in asdict(stft).items() if name in ("sample_rate", "n_fft", "hop_length", "win_length", "window")},
        "columns": options.columns,
        "frames_per_patch": options.frames_per_patch,
        "lookahead_frames": options.lookahead_frames,
        "samples_per_patch": options.frames_per_patch * stft.hop_length,
        "delay_ms": 1000 * samples / stft.sample_rate,
        "output_silence_threshold_db": options.output_silence_threshold,
    }


def config_header(stft: StftOptions, options: Deployment) -> str:
    """The text of ``ai_model_config.h``."""
    lines = {
        "CTRL_AI_HW_SELECT": BOARD,
        "CTRL_X_CUBE_AI_MODEL_NAME": '"X-CUBE-AI STFT TCN"',
        "CTRL_X_CUBE_AI_MODE_NB_OUTPUT": "(1U)",
        "CTRL_X_CUBE_AI_MODE_OUTPUT_1": "(CTRL_AI_SPECTROGRAM)",
        "CTRL_X_CUBE_AI_SENSOR_TYPE": "COM_TYPE_MIC",
        "CTRL_X_CUBE_AI_AUDIO_OUT": "COM_TYPE_HEADSET",
        "CTRL_X_CUBE_AI_SENSOR_NAME": '"imp34dt05"',
        "CTRL_X_CUBE_AI_SENSOR_ODR": f"({stft.sample_rate}.0F)",
        "CTRL_X_CUBE_AI_PREPROC": "(CTRL_AI_STFT)",
        "CTRL_X_CUBE_AI_POSTPROC": "(CTRL_AI_ISTFT)",
        "CTRL_X_CUBE_AI_SPECTROGRAM_HOP_LENGTH": f"({stft.hop_length}U)",
        "CTRL_X_CUBE_AI_SPECTROGRAM_NFFT": f"({stft.n_fft}U)",
        "CTRL_X_CUBE_AI_SPECTROGRAM_WINDOW_LENGTH": f"({stft.win_length}U)",
        "CTRL_X_CUBE_AI_SPECTROGRAM_COL_NO_OVL": f"({options.frames_per_patch}U)",
        "CTRL_X_CUBE_AI_SPECTROGRAM_COL_OVL": f"({options.lookahead_frames}U)",
        "CTRL_X_CUBE_AI_AUDIO_OUT_DB_THRESHOLD": f"({options.output_silence_threshold}.0F)",
        "CTRL_X_CUBE_AI_SPECTROGRAM_WIN": "(user_win)",
        "CTRL_SEQUENCE": "{CTRL_CMD_PARAM_AI,0}",
    }
    body = "\n".join(f"#define {name:<42} {value}" for name, value in lines.items())
    return _guarded("AI_MODEL_CONFIG_H", f'#include "{TABLES}.h"\n\n{body}\n')


def table_header(length: int) -> str:
    """The text of ``user_mel_tables.h``. The application has the type ``PREPROC_FLOAT_T``; elsewhere ``-DPREPROC_FLOAT_T=float`` is it."""
    return _guarded("USER_MEL_TABLES_H", f"extern const PREPROC_FLOAT_T user_win[{length}];\n")


def table_source(window: np.ndarray) -> str:
    """The text of ``user_mel_tables.c``: the (win_length,) window of the analysis."""
    numbers = [f"{value:.10e}F" for value in window]
    rows = ",\n".join("    " + ", ".join(numbers[start : start + 5]) for start in range(0, len(numbers), 5))
    return f'#include "{TABLES}.h"\n\nconst PREPROC_FLOAT_T user_win[{len(numbers)}] = {{\n{rows}\n}};\n'


def _guarded(name: str, body: str) -> str:
    return f"#ifndef {name}\n#define {name}\n\n{body}\n#endif /* {name} */\n"


def _into_project(options: Deployment, folder: Path) -> None:
    """Copies the files into the C project, if there is one: headers to ``Inc``, the table to ``Src``, as far as these are there."""
    project = Path(options.c_project_path) if options.c_project_path else None
    if project is None:
        return
    if not project.is_dir():
        log.warning("deployment.c_project_path: there is no folder %s; the files lie in %s", project, folder)
        return
    for name in (CONFIG_HEADER, f"{TABLES}.h", f"{TABLES}.c"):
        place = project / ("Src" if name.endswith(".c") else "Inc")
        shutil.copy(folder / name, place if place.is_dir() else project)
