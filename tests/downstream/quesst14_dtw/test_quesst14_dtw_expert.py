"""The task over the command line and by itself: printed commands, answers, settings, bad input."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest
import soundfile
import soxr
import torch

from downstream.blocks.quesst import recordings
from downstream.quesst14_dtw.dataset import read_waveform
from downstream.quesst14_dtw.expert import DownstreamExpert, variant_of
from run_downstream import main
from tests.downstream.native import native_recordings
from tests.downstream.quesst14_dtw.conftest import ROOT
from utility.errors import ConfigError, DataError, UnknownNameError
from utility.metrics.detection_files import read_stdlist

PRINTED = r'-m evaluate -t "test" -u fbank -d quesst14_dtw -n fbank_dtw_test -o "config.downstream_expert.dtwrc.dist_method=\"cosine\""'


def expert(tmp_path: Path, dtwrc: dict | None = None, **fields) -> DownstreamExpert:
    """A task on features of three dimensions."""
    return DownstreamExpert(3, 160, {"datarc": {}, "dtwrc": dtwrc or {}, **fields}, str(tmp_path))


def test_the_printed_command_word_for_word(tiny, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data").mkdir()
    (tmp_path / "data/quesst14Database").symlink_to(tiny)
    assert main(shlex.split(PRINTED)) == 0
    expdir = tmp_path / "result/downstream/fbank_dtw_test"
    result = json.loads((expdir / "results/initial/test-cosine.json").read_text())
    assert result["config"]["downstream_expert"]["dtwrc"]["dist_method"] == "cosine"
    said = capsys.readouterr().out.splitlines()
    found = read_stdlist(expdir / "benchmark.stdlist.xml")
    english = recordings(tiny, "eval", "nnenglish")
    assert set(found) == {(q.name, d.name) for q in english if q.is_query for d in english if not d.is_query}
    assert result["items"] == len(english)
    assert not list(expdir.glob("results/initial/tmp*"))

    truth = tiny / "scoring/groundtruth_quesst14_eval"
    script = Path(__file__).resolve().parents[3] / "downstream/quesst14_dtw/score.sh"
    environment = {**os.environ, "PYTHON": sys.executable}
    done = subprocess.run([script, expdir, truth, "-10"], capture_output=True, text=True, check=True, env=environment)
    assert done.stdout.splitlines() == [line for line in said if line.startswith("act")]
    assert (expdir / "score.out").read_text() == done.stdout
    assert f"maxTWV: {result['scores']['maxTWV']['value']:.8f}" in done.stdout
    assert f"minCnxe: {result['scores']['minCnxe']['value']:.8f}" in done.stdout


def test_splits_do_not_overwrite_each_other(tiny, tmp_path, search):
    scores = {split: search(tiny, split=split, more=",,config.downstream_expert.max_workers=1")["scores"] for split in ("dev", "test")}
    assert scores["dev"] != scores["test"]
    for split in ("dev", "test"):
        queries = {query for query, _ in read_stdlist(tmp_path / f"run/results/initial/{split}/benchmark.stdlist.xml")}
        assert {query.split("_")[1] for query in queries} == {"dev" if split == "dev" else "eval"}
    last = (tmp_path / "run/results/initial/test/benchmark.stdlist.xml").read_bytes()
    assert (tmp_path / "run/benchmark.stdlist.xml").read_bytes() == last


def test_searches_of_one_folder_do_not_overwrite_each_other(tiny, tmp_path, search):
    """Another layer and another distance have files of their own beside those of the task's own search."""
    search(tiny)
    usual = (tmp_path / "run/results/initial/test/benchmark.stdlist.xml").read_bytes()
    layer = search(tiny, flags=["-l", "0"])
    distance = search(tiny, more=",,config.downstream_expert.dtwrc.dist_method=euclidean", flags=["-l", "0"])
    assert layer["scores"] != distance["scores"]
    folder = tmp_path / "run/results/initial"
    assert {path.name for path in folder.glob("*.json")} == {"test.json", "test-layer0.json", "test-layer0-euclidean.json"}
    assert {path.name for path in folder.iterdir() if path.is_dir()} == {"test", "test-layer0", "test-layer0-euclidean"}
    assert (folder / "test/benchmark.stdlist.xml").read_bytes() == usual


LAYERS = """
import torch
from torch import nn
from torch.nn.utils.rnn import pad_sequence


class UpstreamExpert(nn.Module):
    def __init__(self, ckpt=None, model_config=None, **kwargs):
        super().__init__()

    def get_downsample_rates(self, key):
        return 320

    def forward(self, wavs):
        frames = pad_sequence([wav[: len(wav) // 320 * 320].view(-1, 320) for wav in wavs], batch_first=True)
        spectra = (torch.fft.rfft(frames).abs()[..., :24] + 1e-3).log()
        return {"hidden_states": [spectra, spectra.flip(-1) * torch.linspace(0, 1, 24), frames[..., :24]][WHICH]}
"""


def test_every_layer_can_be_searched(tiny, tmp_path, search):
    """``-l`` gives the very answers of an upstream that has this layer alone; without it, the mean of the layers is another matter."""

    def answers(which: str, *flags: str) -> bytes:
        folder = tmp_path / f"upstream{which}"
        folder.mkdir(exist_ok=True)
        (folder / "expert.py").write_text(LAYERS.replace("WHICH", which))
        search(tiny, str(folder), folder="-".join(("run", which, *flags)), flags=flags)
        return (tmp_path / "-".join(("run", which, *flags)) / "benchmark.stdlist.xml").read_bytes()

    alone = [answers(f"{layer}:{layer + 1}") for layer in range(3)]
    assert [answers(":", "-l", str(layer)) for layer in range(3)] == alone
    assert len({*alone, answers(":")}) == 4


@pytest.mark.parametrize(
    ("settings", "args", "name"),
    [
        ({"dtwrc": {"dist_method": "cosine_exp", "minmax_norm": True}}, {"upstream_feature_selection": "hidden_states"}, ""),
        ({"dtwrc": {"step_pattern": "symmetric2", "subsequence": False}}, {}, "symmetric2-whole"),
        ({"dtwrc": {"minmax_norm": False}, "feature_normalization": False}, {}, "raw-nominmax"),
        ({"silence_frame": 2, "datarc": {"language": "czech"}}, {}, "silence2-czech"),
        ({}, {"upstream_feature_selection": "PPG", "upstream_layer_selection": -1}, "PPG-layer-1"),
        ({}, {"upstream_feature_normalize": True}, "layernorm"),
    ],
)
def test_the_name_of_a_search_says_how_it_differs(settings, args, name):
    assert variant_of({"datarc": {}, "dtwrc": {}} | settings, args) == name


def test_recordings_too_short_for_the_upstream_do_not_end_the_search(faulty, tmp_path, search, caplog):
    """fbank needs 400 samples. A query of 160 and one of 0.03 s score 0, a document of 60 has no frame, one of 320 has two frames."""
    queries, documents = (sorted((faulty / folder).glob("*.wav")) for folder in ("eval_queries", "Audio"))
    english = {recording.name for recording in recordings(faulty, "eval", "nnenglish")}
    queries, documents = ([path for path in paths if path.stem in english] for paths in (queries, documents))
    for path, samples in ((queries[0], 160), (queries[1], 480), (documents[0], 60), (documents[1], 320)):
        soundfile.write(path, np.random.default_rng(samples).normal(0, 0.1, samples), 16000)
    assert search(faulty)["items"] == len(english)
    found = read_stdlist(tmp_path / "run/results/initial/test/benchmark.stdlist.xml")
    assert all(found[query.stem, document.stem].score == 0 for query in queries[:2] for document in documents[1:])
    assert found[queries[2].stem, documents[1].stem].score != 0
    assert documents[0].stem not in {document for _, document in found}
    assert "2 queries have less than 5 frames" in caplog.text and "1 documents have no frame" in caplog.text


def test_all_languages_leave_nothing_missing(tiny, search):
    alone = search(tiny, folder="english")["scores"]
    together = search(tiny, more=",,config.downstream_expert.datarc.language=all", folder="all")["scores"]
    assert "maxTWV_searched" in alone and "maxTWV_searched" not in together


@pytest.mark.parametrize("dist_method", ["cosine", "euclidean", "cityblock"])
def test_other_distances_and_the_global_pattern(tiny, search, dist_method):
    more = f",,config.downstream_expert.dtwrc.dist_method={dist_method},,config.downstream_expert.dtwrc.minmax_norm=False"
    more += ",,config.downstream_expert.dtwrc.step_pattern=symmetric2,,config.downstream_expert.dtwrc.subsequence=False"
    assert np.isfinite(search(tiny, "mfcc", more=more)["scores"]["minCnxe_searched"]["value"])


def test_training_is_refused_in_one_sentence(tmp_path, capsys):
    assert main(["-m", "train", "-u", "fbank", "-d", "quesst14_dtw", "-p", str(tmp_path / "run"), "--device", "cpu"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "'quesst14_dtw' has nothing to train" in line and "-m evaluate" in line
    assert not (tmp_path / "run").exists()


# --- inference on pairs


def test_a_word_is_found_in_own_recordings(tiny, tmp_path, capsys):
    """Cut out of one of three recordings, at another rate and in two channels."""
    folder = tmp_path / "recordings"
    folder.mkdir()
    documents = sorted((tiny / "Audio").glob("*.wav"))[:3]
    for document in documents:
        shutil.copy(document, folder)
    wav, rate = soundfile.read(documents[1])
    assert rate != 44100
    word = soxr.resample(wav[round(0.5 * rate) : round(1.25 * rate)], rate, 44100)
    soundfile.write(tmp_path / "word.wav", np.stack([word] * 2, axis=1), 44100)
    words = ["-m", "inference", "-t", str(tmp_path / "word.wav"), str(folder), "-u", "mfcc", "-d", "quesst14_dtw"]
    assert main([*words, "-p", str(tmp_path / "run"), "--device", "cpu"]) == 0
    answers = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [answer["document"] for answer in answers] == [document.stem for document in documents]
    best = max(answers, key=lambda answer: answer["score"])
    assert best["document"] == documents[1].stem
    assert (best["start"], best["end"]) == (pytest.approx(0.5, abs=0.1), pytest.approx(1.25, abs=0.1))
    for answer, document in zip(answers, documents, strict=True):
        assert 0 <= answer["start"] < answer["end"] <= soundfile.info(document).duration + 0.01


def test_words_of_real_recordings_of_several_rates(shared, tmp_path, capsys):
    """Cut out of each at its own rate, and looked for in all of them."""
    files = list(native_recordings(shared))
    (tmp_path / "recordings").mkdir()
    for path in files:
        (tmp_path / "recordings" / path.name).symlink_to(path)
    for path in files:
        wav, rate = soundfile.read(path)
        soundfile.write(tmp_path / "word.wav", wav[round(0.5 * rate) : round(1.1 * rate)], rate)
        words = ["-m", "inference", "-t", str(tmp_path / "word.wav"), str(tmp_path / "recordings"), "-u", "mfcc", "-d", "quesst14_dtw"]
        assert main([*words, "-p", str(tmp_path / "run"), "--device", "cpu"]) == 0
        answers = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
        assert {answer["document"] for answer in answers} == {path.stem for path in files}
        best = max(answers, key=lambda answer: answer["score"])
        assert best["document"] == path.stem
        assert (best["start"], best["end"]) == (pytest.approx(0.5, abs=0.1), pytest.approx(1.1, abs=0.1))


def test_a_query_of_a_few_frames_is_named(tmp_path):
    with pytest.raises(DataError, match="the query has 4 frames and needs at least 5"):
        expert(tmp_path).inference([torch.ones(4, 3), torch.ones(9, 3)], ["q", "d"])
    with pytest.raises(DataError, match="the document is too short"):
        expert(tmp_path).inference([torch.ones(5, 3), torch.ones(0, 3)], ["q", "d"])


def test_a_query_longer_than_the_document_has_an_answer(tmp_path):
    (answer,) = expert(tmp_path).inference([torch.randn(30, 3), torch.randn(4, 3)], ["q", "d"])
    assert np.isfinite(answer["score"]) and answer["end"] <= 0.04


def test_silence_is_left_out_and_times_stay(tmp_path):
    rng = np.random.default_rng(0)
    speech = rng.uniform(1, 2, size=(40, 3)).astype(np.float32)
    speech[:, 2] = 0
    speech[:20:2] = speech[20:30, 2:] = 0
    speech[10:20] = (0, 0, 5)
    query = np.concatenate([speech[5:10], speech[20:26]])
    (answer,) = expert(tmp_path, silence_frame=2).inference([torch.from_numpy(query), torch.from_numpy(speech)], ["q", "d"])
    assert (answer["start"], answer["end"]) == (0.05, 0.26)
    assert answer["score"] == pytest.approx(0, abs=1e-6)


# --- runs without a corpus


def run(task: DownstreamExpert, queries: dict[str, torch.Tensor], documents: dict[str, torch.Tensor]):
    """Answers to features by name."""
    records: dict[str, list] = defaultdict(list)
    for named, is_query in ((queries, True), (documents, False)):
        for name, feature in named.items():
            task("test", [feature], [name], [is_query], records=records)
    outcome = task.log_records("test", records=records, logger=None, global_step=0)
    return read_stdlist(task.expdir / "benchmark.stdlist.xml"), outcome


def test_short_queries_and_empty_documents_are_counted(tmp_path, caplog):
    documents = {"d1": torch.randn(9, 3), "d2": torch.zeros(0, 3), "d3": torch.randn(7, 3)}
    found, outcome = run(expert(tmp_path), {"long": torch.randn(20, 3), "short": torch.randn(4, 3)}, documents)
    assert {document for _, document in found} == {"d1", "d3"}
    assert all(found["short", document].score == 0 for document in ("d1", "d3"))
    assert {round(abs(found["long", document].score), 4) for document in ("d1", "d3")} == {1.0}
    said = caplog.text
    assert "1 documents have no frame" in said and "1 queries have less than 5 frames" in said
    assert "there is no ground truth" in said and not outcome.scores


def test_nothing_to_search_is_an_error(tmp_path):
    with pytest.raises(DataError, match="nothing can be searched"):
        run(expert(tmp_path), {"q": torch.randn(9, 3)}, {"d": torch.zeros(0, 3)})


@pytest.mark.parametrize(
    ("dtwrc", "fields", "says"),
    [
        ({"step_pattern": "symmetric2"}, {}, "symmetric2 has no subsequence search"),
        ({"step_pattern": "symmetric1", "subsequence": False}, {}, "cannot be compared between documents"),
        ({"dist_method": "cosine_neg_log"}, {}, "feature_normalization: True does not leave"),
        ({"dist_method": "seuclidean"}, {}, "dtwrc: dist_method 'seuclidean' is no distance between two frames"),
        ({"dist_method": "test_SE"}, {}, "dist_method 'test_SE' is no distance between two frames"),
        ({"dist_method": "mahalanobis"}, {}, "dist_method 'mahalanobis' is no distance between two frames"),
        ({"distmethod": "cosine"}, {}, "unknown field 'distmethod'; did you mean 'dist_method'"),
        ({}, {"max_workers": 0}, "max_workers is 0"),
        ({}, {"silence_frame": 3}, "silence_frame is 3 and should be a feature's index from 0 to 2"),
        ({}, {"silence_frames": 3}, "unknown field 'silence_frames'"),
    ],
)
def test_wrong_settings_are_named(tmp_path, dtwrc, fields, says):
    with pytest.raises(ConfigError, match=says):
        expert(tmp_path, dtwrc, **fields)


def test_wrong_names_are_named(tmp_path):
    with pytest.raises(UnknownNameError, match="unknown step_pattern 'asymetric'; did you mean 'asymmetric'"):
        expert(tmp_path, {"step_pattern": "asymetric"})
    with pytest.raises(UnknownNameError, match="did you mean 'cosine_exp'"):
        expert(tmp_path, {"dist_method": "cosin_exp"})
    with pytest.raises(ConfigError, match="'dataset_root' is missing"):
        expert(tmp_path).get_dataloader("test")


def test_negative_cosines_are_no_place_for_a_logarithm(tmp_path):
    task = expert(tmp_path, {"dist_method": "cosine_neg_log"}, feature_normalization=False)
    with pytest.raises(DataError, match="needs positive cosines"):
        run(task, {"q": torch.randn(20, 3)}, {"d": torch.randn(30, 3)})
    found, _ = run(task, {"q": torch.rand(20, 3)}, {"d1": torch.rand(30, 3), "d2": torch.rand(40, 3)})
    assert len(found) == 2


@pytest.mark.parametrize("minmax", [True, False])
@pytest.mark.parametrize("way", [{}, {"step_pattern": "symmetric2", "subsequence": False}])
@pytest.mark.parametrize("name", ["correlation", "jensenshannon"])
@pytest.mark.parametrize("spoiled", ["q", "d"])
def test_distances_that_are_not_defined_are_named(tmp_path, minmax, way, name, spoiled):
    """Neither has a value for a frame of zeros; the other recordings are well."""
    task = expert(tmp_path, {"dist_method": name, "minmax_norm": minmax, **way}, feature_normalization=False)
    features = {"q": torch.rand(20, 3), "d": torch.rand(30, 3)}
    features[spoiled][7] = 0
    says = f"^dist_method '{name}' is not defined for some of these features$"
    with pytest.raises(DataError, match=says):
        run(task, {"q": features["q"]}, {"d0": torch.rand(25, 3), "d": features["d"]})
    with pytest.raises(DataError, match=says):
        task.inference([features["q"], features["d"]], ["q", "d"])


# --- corpora with faults


@pytest.fixture
def faulty(tiny, tmp_path) -> Path:
    """A copy to spoil."""
    return Path(shutil.copytree(tiny, tmp_path / "faulty"))


def fails(root: Path, tmp_path: Path, capsys) -> str:
    words = ["-m", "evaluate", "-u", "fbank", "-d", "quesst14_dtw", "-p", str(tmp_path / "run"), "--device", "cpu"]
    assert main([*words, "-o", f"{ROOT}='{root}',,config.downstream_expert.datarc.num_workers=0"]) == 2
    *_, line = capsys.readouterr().err.splitlines()
    return line


def test_missing_lists_and_files_are_named(faulty, tmp_path, capsys):
    next((faulty / "Audio").glob("*.wav")).unlink()
    assert "1 of" in (said := fails(faulty, tmp_path, capsys)) and "do not exist, the first is" in said
    (faulty / "scoring/language_key_eval.lst").unlink()
    assert "language_key_eval.lst does not exist" in fails(faulty, tmp_path, capsys)
    assert "does not exist; downstream/README.md" in fails(tmp_path / "nowhere", tmp_path, capsys)


def test_a_damaged_recording_is_named(faulty, tmp_path, capsys):
    damaged = sorted((faulty / "eval_queries").glob("*.wav"))[0]
    damaged.write_bytes(b"RIFF")
    assert damaged.name in fails(faulty, tmp_path, capsys)


def test_without_ground_truth_the_answers_are_there(faulty, search, caplog):
    shutil.rmtree(faulty / "scoring/groundtruth_quesst14_eval")
    assert search(faulty)["scores"] == {}
    assert "there is no ground truth" in caplog.text


def test_recordings_are_resampled_and_quieter(tmp_path):
    soundfile.write(tmp_path / "a.wav", np.full((800, 2), 0.5), 8000)
    wav = read_waveform(tmp_path / "a.wav")
    assert wav.shape == (1600,)
    assert wav[800].item() == pytest.approx(0.5 * 10 ** (-3 / 20), abs=1e-3)


@pytest.mark.parametrize("plugins", [["-u", "fbank", "-d", "example"], []])
def test_tasks_that_learn_still_need_a_checkpoint(tmp_path, capsys, plugins):
    assert main(["-m", "inference", "-t", "a.wav", "-p", str(tmp_path / "run"), *plugins]) == 2
    assert "inference needs a trained checkpoint" in capsys.readouterr().err
