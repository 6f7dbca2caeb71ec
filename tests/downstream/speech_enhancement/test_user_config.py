"""The config file of the STM32 model zoo as stages: misprints, references, faults, precedence; nothing is trained here."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from downstream.speech_enhancement.plan import plan
from downstream.speech_enhancement.zoo.fields import FIELDS, MODES
from downstream.speech_enhancement.zoo.reading import read
from tests.downstream.speech_enhancement import zoo_files
from utility.errors import ConfigError, UsageError
from utility.experiment.command_line import parse
from utility.experiment.config import check_runner, check_sections
from utility.experiment.plan import BEST, LAST, Order, Plan

REPO = Path(__file__).resolve().parents[3]
NOW = time.mktime((2025, 3, 4, 5, 6, 7, 0, 0, -1))


def order(source: Path, *words: str) -> Order:
    arguments = parse(["-u", "stft_mag", "-d", "speech_enhancement", "-c", str(source), *words], list, list)
    return Order(str(source), vars(arguments), arguments.given, NOW)


def planned(source: Path, *words: str) -> Plan:
    found = plan(order(source, *words))
    assert found is not None
    return found


def names(found: Plan) -> list[str]:
    return ["train" if stage.mode == "train" else stage.splits[0] for stage in found.stages]


@pytest.fixture
def tutorial(tmp_path: Path) -> Path:
    path = tmp_path / "user_config.yaml"
    path.write_text(zoo_files.TUTORIAL)
    return path


def test_the_tutorials_file_as_it_is_printed(tutorial: Path):
    found = planned(tutorial)
    assert names(found) == ["train", "export", "export"]
    assert [stage.weights for stage in found.stages] == [None, LAST, BEST]
    train = found.stages[0]
    assert train.device == "cuda:0" and train.expdir == "./experiment_outputs/2025_03_04_05_06_07"
    assert found.warnings[0] == f"{tutorial}: the section 'general:general:' is read as 'general:'"
    check_sections(train.config)
    assert check_runner(train.config).total_epochs == 100
    assert train.config["optimizer"] == {"name": "TorchOptim", "torch_optim_name": "Adam", "lr": 0.001}
    task = train.config["downstream_expert"]
    assert task["training"]["regularization"]["activation_regularization"] == 1e-4 and task["training"]["batch_size"] == 4
    assert task["model_specific"]["mask_activation"] == "tanh" and task["dataset"]["n_speakers"] == 56
    assert found.log == ("stm32ai_main.log", ("operation_mode : training", "dataset : valentini", "model : STFTTCNN"))
    assert yaml.safe_load(found.files[".hydra/config.yaml"])["general"]["project_name"] == "speech_enhancement_project"
    assert yaml.safe_load(found.files[".hydra/hydra.yaml"])["hydra"]["run"]["dir"] == train.expdir


def test_the_translation_is_a_config_of_the_task(tmp_path: Path):
    from downstream.speech_enhancement.expert import DownstreamExpert

    source = zoo_files.write(tmp_path / "user_config.yaml", model_specific={"tcn_latent_dim": 8})
    expert = DownstreamExpert(257, 160, **planned(source).stages[0].config, expdir=str(tmp_path))
    assert expert.checked.training.early_stopping_patience == 50 and expert.model is not None
    given = {"optimizer": "SGD", "optimizer_arguments": {"lr": 0.02, "momentum": 0.9}}
    optimizer = planned(zoo_files.write(tmp_path / "c.yaml", training=given)).stages[0].config["optimizer"]
    assert optimizer == {"name": "TorchOptim", "torch_optim_name": "SGD", "lr": 0.02, "momentum": 0.9}


@pytest.mark.parametrize(
    ("mode", "stages"),
    [
        ("chain_tqe", ["train", "export", "export", "evaluate", "quantize", "evaluate_quantized"]),
        ("chain_tqeb", ["train", "export", "export", "evaluate", "quantize", "evaluate_quantized", "benchmark"]),
        ("chain_eqe", ["evaluate", "quantize", "evaluate_quantized"]),
        ("chain_eqeb", ["evaluate", "quantize", "evaluate_quantized", "benchmark"]),
        ("chain_qb", ["quantize", "benchmark"]),
        ("chain_qd", ["quantize", "deploy"]),
        ("evaluation", ["evaluate"]),
        ("quantization", ["quantize"]),
        ("benchmarking", ["benchmark"]),
        ("deployment", ["deploy"]),
        ("training", ["train", "export", "export"]),
    ],
)
def test_every_mode_is_its_stages(tmp_path: Path, mode: str, stages: list[str]):
    found = planned(zoo_files.write(tmp_path / "c.yaml", operation_mode=mode, model={"onnx_path": "model.onnx"}), "-p", "here")
    assert names(found) == stages and {stage.expdir for stage in found.stages} == {"here"} and mode in MODES
    for stage in found.stages:
        model = stage.config["downstream_expert"]["model"]
        if stage.splits[0] in ("benchmark", "deploy") and mode.startswith("chain"):
            assert model["onnx_path"] == "here/saved_models/quantized_model_int8_static.onnx"
        elif "train" in stages and stage.mode != "train":
            assert "onnx_path" not in model and stage.weights in (BEST, LAST)
        else:
            assert model["onnx_path"] == "model.onnx"


def test_a_state_dict_is_evaluated_by_torch_and_so_is_a_checkpoint(tmp_path: Path):
    source = zoo_files.write(tmp_path / "c.yaml", operation_mode="evaluation", model={"state_dict_path": "best.pth"})
    assert names(planned(source)) == ["evaluate_torch"] and planned(source).stages[0].device == "cuda:0"
    found = planned(zoo_files.write(tmp_path / "d.yaml", operation_mode="chain_eqe"), "-e", "run/dev-best.ckpt", "--device", "cpu")
    assert names(found) == ["evaluate_torch", "quantize", "evaluate_quantized"]
    assert {stage.weights for stage in found.stages} == {"run/dev-best.ckpt"} and {stage.expdir for stage in found.stages} == {"run"}
    assert found.stages[0].device == "cpu" and found.stages[0].config["downstream_expert"]["evaluation"]["device"] == "cpu"


def test_the_command_line_wins(tutorial: Path, tmp_path: Path):
    found = planned(tutorial, "-m", "train", "--device", "cpu", "-n", "name")
    assert found.stages[0].device == "cpu" and found.stages[0].expdir == "result/downstream/name"
    chain = zoo_files.write(tmp_path / "c.yaml", operation_mode="chain_tqe", model={"onnx_path": "a.onnx"})
    assert names(planned(chain, "-m", "train")) == ["train", "export", "export"]
    assert names(planned(chain, "-m", "evaluate")) == ["evaluate"]
    assert names(planned(chain, "-m", "evaluate", "-t", "stream", "-i", "x.ckpt")) == ["stream"]
    heard = planned(chain, "-m", "inference", "-t", "a.wav", "b.wav", "-e", "x.ckpt").stages
    assert [(stage.mode, stage.splits, stage.weights) for stage in heard] == [("inference", ("a.wav", "b.wav"), "x.ckpt")]
    with pytest.raises(UsageError, match="inference needs a trained checkpoint"):
        planned(chain, "-m", "inference", "-t", "a.wav")


def test_overrides_change_the_file_or_the_translation(tutorial: Path):
    words = ("-o", "config.training.epochs=3,,config.runner.max_keep=2,,config.model_specific.n_blocks=1")
    found = planned(tutorial, *words, "-p", "x")
    assert found.stages[0].config["runner"]["total_epochs"] == 3 and found.override == "config.runner.max_keep=2"
    assert yaml.safe_load(found.files[".hydra/overrides.yaml"]) == ["training.epochs=3", "model_specific.n_blocks=1"]


def test_going_on(tutorial: Path, tmp_path: Path):
    assert planned(tutorial, "-a", "-p", "x").resumes and not planned(tutorial, "-p", "x").resumes
    (tmp_path / "run").mkdir()
    found = planned(tutorial, "-e", str(tmp_path / "run"))
    assert found.resumes and found.stages[0].expdir == str(tmp_path / "run") and found.override == "config.runner.total_epochs=100"
    (tmp_path / "states-3.ckpt").touch()
    (tmp_path / "training_snapshot.pth").symlink_to("states-3.ckpt")
    source = zoo_files.write(tmp_path / "c.yaml", training={"snapshot_path": str(tmp_path / "training_snapshot.pth")})
    assert planned(source, "-p", "x").stages[0].past == str(tmp_path / "states-3.ckpt")
    with pytest.raises(ConfigError, match=r"snapshot_path: there is no nowhere\.pth"):
        planned(zoo_files.write(tmp_path / "c.yaml", training={"snapshot_path": "nowhere.pth"}))


def test_texts_are_numbers_variables_and_references_and_never_code(tmp_path: Path, monkeypatch):
    monkeypatch.setenv("SPEECH", "/corpora/speech")
    monkeypatch.delenv("ABSENT", raising=False)
    source = zoo_files.write(
        tmp_path / "c.yaml",
        dataset={"root_folder": "${SPEECH}/valentini", "num_training_samples": "1./4", "clean_train_files_path": "None"},
        training={"optimizer_arguments": {"lr": "1./1000", "betas": ["0.9", "1 - 0.001"]}, "ckpt_path": "${oc.env:ABSENT,ckpts/}"},
        general={"project_name": "__import__('os').getcwd()", "saved_models_dir": "${dataset.name}_${now:%Y}"},
        preprocessing={"win_length": "${preprocessing.n_fft}"},
    )
    config = read(str(source), None, NOW).config
    assert config["dataset"]["root_folder"] == "/corpora/speech/valentini" and config["dataset"]["num_training_samples"] == 0.25
    assert config["dataset"]["clean_train_files_path"] is None
    assert config["training"]["optimizer_arguments"] == {"lr": 0.001, "betas": [0.9, 0.999]} and config["training"]["ckpt_path"] == "ckpts/"
    assert config["general"] == {**config["general"], "project_name": "__import__('os').getcwd()", "saved_models_dir": "valentini_2025"}
    assert config["preprocessing"]["win_length"] == 512


def test_every_fault_is_said_at_once(tmp_path: Path):
    source = zoo_files.write(
        tmp_path / "c.yaml",
        trainig={"epochs": 3},
        dataset={"n_speaker": 28, "root_folder": "${NO_SUCH_VARIABLE}/x", "epochs": 3},
        training={"epochs": "many", "device": "tpu", "regularization": {"penalty": "l2"}},
        quantization="all",
    )
    with pytest.raises(ConfigError) as caught:
        planned(source)
    for said in (
        "dataset.root_folder refers to the environment variable NO_SUCH_VARIABLE, which is not set",
        "the section trainig is unknown; did you mean 'training'?",
        "the field dataset.n_speaker is unknown; did you mean 'n_speakers'?",
        "the field dataset.epochs is unknown; epochs belongs in the section training",
        "training.epochs is 'many' and should be a whole number above 0",
        "training.device is 'tpu' and should be cpu, cuda, cuda:N or mps",
        "the field training.regularization.penalty is unknown; did you mean 'penalty_type'?",
        "quantization is 'all', not a section of fields",
    ):
        assert said in str(caught.value)
    assert str(caught.value).startswith(str(source))


def test_what_a_mode_needs(tmp_path: Path):
    source = zoo_files.write(tmp_path / "c.yaml", operation_mode="chain_tqe", training={"epochs": None, "optimizer_arguments": {"eps": 1}})
    with pytest.raises(ConfigError, match=r"training.epochs is empty, which chain_tqe needs; training.optimizer_arguments.lr is empty"):
        planned(source)
    with pytest.raises(ConfigError, match=r"model.onnx_path is empty, which chain_qb needs \(or"):
        planned(zoo_files.write(tmp_path / "c.yaml", operation_mode="chain_qb"))
    with pytest.raises(ConfigError, match="operation_mode 'chain_tq' is unknown; did you mean 'chain_tqe'"):
        planned(zoo_files.write(tmp_path / "c.yaml", operation_mode="chain_tq"))
    with pytest.raises(ConfigError, match="operation_mode is empty"):
        planned(zoo_files.write(tmp_path / "c.yaml", operation_mode=None))
    with pytest.raises(ConfigError, match="opset_version is 12, and the quantisation of chain_tqe needs 13 at least"):
        planned(zoo_files.write(tmp_path / "c.yaml", operation_mode="chain_tqe", training={"opset_version": 12}))


def test_other_names_of_sections(tmp_path: Path):
    tools = {"stedgeai": {"version": "10.0.0", "on_cloud": False}}
    for changes in ({"tools": None, "stedgeai": tools["stedgeai"]}, {"tools": None, "stm32ai": tools["stedgeai"]}):
        found = planned(zoo_files.write(tmp_path / "c.yaml", **changes))
        assert found.stages[0].config["downstream_expert"]["tools"] == tools
    found = read(str(zoo_files.write(tmp_path / "c.yaml", training={"opset_version": None, "onnx_version": 15})), None, NOW)
    assert found.config["training"]["opset_version"] == 15


def test_what_is_done_otherwise_is_said(tmp_path: Path, monkeypatch):
    monkeypatch.setattr("downstream.speech_enhancement.zoo.translation.find_spec", lambda name: None)
    found = planned(zoo_files.write(tmp_path / "c.yaml"))
    said = " ".join(found.warnings)
    assert "pip install mlflow" in said and "on_cloud" in said and "display_figures" in said
    config = found.stages[0].config
    assert "mlflow" not in config["runner"] and config["downstream_expert"]["tools"]["stedgeai"]["on_cloud"] is False
    monkeypatch.setattr("downstream.speech_enhancement.zoo.translation.find_spec", lambda name: object())
    runner = planned(zoo_files.write(tmp_path / "c.yaml")).stages[0].config["runner"]
    assert (runner["mlflow"], runner["mlflow_uri"]) == (True, "./experiment_outputs/mlruns")


def test_our_own_configs_are_no_plan():
    for path in (REPO / "downstream/speech_enhancement/config.yaml", REPO / "downstream/example/config.yaml"):
        assert plan(order(path)) is None


def test_a_wrong_file_is_answered_without_torch(tmp_path: Path):
    source = zoo_files.write(tmp_path / "c.yaml", trainig={})
    words = ["-u", "stft_mag", "-d", "speech_enhancement", "-c", str(source)]
    code = f"import sys, run_downstream; status = run_downstream.main({words!r}); print(status, 'torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=REPO, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["2", "False"] and "did you mean 'training'" in done.stderr and done.stderr.count("\n") == 1


def test_every_section_of_the_spec_is_known():
    sections = "general operation_mode model model_specific dataset preprocessing training quantization evaluation tools benchmarking"
    assert set(FIELDS) == {*sections.split(), "deployment", "mlflow", "hydra"}
