"""Config files of the STM32 model zoo: the tutorial's blocks, and the fields of the other modes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

TUTORIAL = """
operation_mode: training

general:general:
  project_name: speech_enhancement_project
  logs_dir: logs
  saved_models_dir: saved_models
  gpu_memory_limit: 0.5
  display_figures: True

model:
  model_type: STFTTCNN
  state_dict_path:
  onnx_path:

model_specific:
  n_blocks: 2
  num_layers: 3
  in_channels: 257
  tcn_latent_dim: 512
  init_dilation: 2
  mask_activation: "tanh"

dataset:
  name: valentini
  root_folder: /local/datasets/Valentini
  n_speakers: 56
  file_extension: '.wav'
  num_training_samples:
  num_validation_samples: 100
  num_test_samples:
  shuffle: True
  random_seed: 42
  clean_train_files_path:
  clean_test_files_path:
  noisy_train_files_path:
  noisy_test_files_path:

preprocessing:
  pipeline_type: LibrosaSpecPipeline
  peak_normalize: False
  sample_rate: 16000
  n_fft: 512
  hop_length: 160
  win_length: 400
  window: hann
  center: True
  power: 1

training:
 device: cuda:0
 epochs: 100

 optimizer: Adam
 optimizer_arguments: {lr: 0.001}

 loss: spec_mse
 batching_strategy: pad

 num_dataloader_workers: 4
 batch_size: 4

 reference_metric: pesq

 early_stopping: True
 early_stopping_patience: 50

 regularization:
  weight_clipping_max: 1.0
  activation_regularization: 1e-4
  act_reg_layer_types: [Conv1d, DepthwiseSeparableConv]
  act_reg_threshold: 50.0
  penalty_type: l2

 save_every: 2
 snapshot_path:
 ckpt_path: ckpts/
 logs_filename: training_logs.csv

 opset_version: 17

hydra:
  run:
    dir: ./experiment_outputs/${now:%Y_%m_%d_%H_%M_%S}
"""
OTHER_MODES = """
quantization:
  num_quantization_samples: 4
  random_seed: 42
  noisy_quantization_files_path:
  static_sequence_length: 40
  static_axis_name: seq_len
  per_channel: True
  calibration_method: MinMax
  op_types_to_quantize: [Add, Conv, Relu]
  reduce_range: False
  extra_options: {CalibMovingAverage: True}
evaluation:
  logs_path: eval_logs/
  device: cuda:0
  fixed_sequence_length:
tools:
  stedgeai: {version: 10.0.0, optimization: balanced, on_cloud: True, path_to_stedgeai: }
  path_to_cubeIDE:
benchmarking: {board: STM32N6570-DK}
deployment:
  frames_per_patch: 30
  lookahead_frames: 5
  output_silence_threshold: -50
  c_project_path:
  IDE: GCC
  verbosity: 1
  hardware_setup: {serie: STM32N6, board: STM32N6570-DK}
  build_conf: "N6 Audio Bare Metal"
mlflow: {uri: ./experiment_outputs/mlruns}
"""


def write(path: Path, **changes: Any) -> Path:
    """Writes the tutorial's file with changes in its sections: ``training={"epochs": 2}``; None leaves a section out."""
    config = yaml.safe_load(TUTORIAL.replace("general:general:", "general:") + OTHER_MODES)
    for name, value in changes.items():
        if value is None:
            config.pop(name)
        else:
            config[name] = {**config.get(name, {}), **value} if isinstance(value, dict) else value
    path.write_text(yaml.safe_dump(config, sort_keys=False))
    return path


def tiny(path: Path, root: Path, mode: str, **changes: Any) -> Path:
    """The tutorial's file with a small network, two epochs, a corpus of 28 speakers in ``root``, and without MLflow."""
    sections: dict[str, Any] = {
        "operation_mode": mode,
        "model_specific": {"tcn_latent_dim": 8, "n_blocks": 1, "num_layers": 2},
        "dataset": {"root_folder": str(root), "n_speakers": 28, "num_validation_samples": 1},
        "training": {"device": "cpu", "epochs": 2, "num_dataloader_workers": 0, "batch_size": 2, "reference_metric": "si-snr"},
        "mlflow": None,
    }
    sections["training"]["metrics"] = ["stoi", "snr", "si-snr", "mse"]
    sections["evaluation"] = {"metrics": ["stoi", "snr", "si-snr", "mse"]}
    for name, value in changes.items():
        before = sections.get(name)
        sections[name] = {**before, **value} if isinstance(value, dict) and isinstance(before, dict) else value
    return write(path, **sections)
