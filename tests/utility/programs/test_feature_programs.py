"""extract_features.py, allclose.py, compute_acc.py and print_url_cache_path.py."""

from __future__ import annotations

import numpy as np
import pytest
import soundfile
import torch

from utility import allclose, compute_acc, extract_features, print_url_cache_path
from utility.experiment import download


@pytest.fixture
def recordings(tmp_path):
    """Half a second of noise at 16 kHz, and a stereo file at 8 kHz in a sub-folder."""
    noise = np.random.default_rng(0).normal(0, 0.1, (8000, 2)).astype(np.float32)
    (tmp_path / "wavs/sub").mkdir(parents=True)
    soundfile.write(tmp_path / "wavs/a.wav", noise[:, 0], 16000)
    soundfile.write(tmp_path / "wavs/sub/b.flac", noise, 8000)
    return tmp_path / "wavs"


def test_files_of_any_rate_become_lists_of_layers(recordings, tmp_path, capsys):
    assert extract_features.main(["fbank", "--files", str(recordings), "--output_dir", str(tmp_path / "o"), "--device", "cpu"]) == 0
    targets = [tmp_path / "o/a.pt", tmp_path / "o/sub/b.pt"]
    assert capsys.readouterr().out == "".join(f"{target}\n" for target in targets)
    (short,), (long,) = (torch.load(target) for target in targets)
    assert short.shape[1] == long.shape[1]
    assert abs(long.shape[0] - 2 * short.shape[0]) <= 4
    assert torch.isfinite(long).all()


def test_an_upstream_without_a_rate_hears_files_as_they_are(recordings, tmp_path):
    words = ["--files", str(recordings), "--output_dir", str(tmp_path / "o"), "--device", "cpu"]
    assert extract_features.main(["stft_mag", *words]) == 0
    (short,), (long,) = (torch.load(tmp_path / "o" / name) for name in ("a.pt", "sub/b.pt"))
    assert short.shape == long.shape


def test_the_features_are_the_upstreams(recordings, tmp_path):
    from upstream import registry

    extract_features.main(["fbank", "--files", str(recordings / "a.wav"), "--output_dir", str(tmp_path), "--device", "cpu"])
    wav = torch.from_numpy(soundfile.read(recordings / "a.wav", dtype="float32")[0])
    wanted = registry.build("fbank").eval()([wav])["hidden_states"]
    assert all(torch.equal(ours, theirs[0]) for ours, theirs in zip(torch.load(tmp_path / "a.pt"), wanted, strict=True))


def test_the_pseudo_waveforms_are_s3prls(tmp_path):
    assert [len(wav) for wav in extract_features.pseudo_wavs()] == [43670, 28623]
    torch.manual_seed(0)
    assert torch.equal(extract_features.pseudo_wavs()[0], torch.randn(43670))
    assert extract_features.main(["fbank", "--output_dir", str(tmp_path), "--device", "cpu", "--layer", "-1"]) == 0
    (layer,) = torch.load(tmp_path / "fbank.pt")
    assert (layer.ndim, len(layer)) == (3, 2)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["fbnak"], "unknown upstream 'fbnak'; did you mean 'fbank'?"),
        (["fbank", "--layer", "5"], "there is no layer 5: the upstream has 1, from 0 to 0"),
        (["fbank", "--files", "nowhere.wav"], ""),
        (["fbank", "stray"], "unexpected word 'stray'"),
        (["fbank", "--dither"], "the option --dither has no value"),
    ],
)
def test_mistakes_are_one_sentence(words, sentence, tmp_path, capsys):
    assert extract_features.main([*words, "--output_dir", str(tmp_path), "--device", "cpu"]) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith(sentence)
    assert "nowhere.wav" in error or sentence


def test_a_folder_without_audio_is_no_success(recordings, tmp_path, capsys):
    (tmp_path / "none").mkdir()
    (tmp_path / "none/readme.txt").write_text("no audio")
    words = ["fbank", "--files", str(recordings), str(tmp_path / "none"), "--output_dir", str(tmp_path / "o"), "--device", "cpu"]
    assert extract_features.main(words) == 2
    output = capsys.readouterr()
    assert f"there is no audio in {tmp_path / 'none'}" in output.err and not output.out and not (tmp_path / "o").exists()


def test_two_files_of_one_name_are_refused(recordings, tmp_path):
    twin = tmp_path / "other/a.wav"
    twin.parent.mkdir()
    twin.write_bytes((recordings / "a.wav").read_bytes())
    with pytest.raises(extract_features.DataError, match=r"would both become .*a\.pt"):
        extract_features.plan([recordings / "a.wav", twin], tmp_path)


def write(path, value) -> str:
    torch.save(value, path)
    return str(path)


@pytest.mark.parametrize(
    ("first", "second", "wanted"),
    [
        (torch.zeros(3), torch.tensor([0.0, -0.5, 0.25]), "0.5"),
        ([torch.zeros(2), torch.ones(2)], [torch.zeros(2), torch.tensor([1.0, 3.0])], "2.0"),
        ({"a": torch.tensor(5), "b": "text"}, {"a": torch.tensor(3), "b": "other"}, "2.0"),
        (torch.tensor([float("nan"), 9.0]), torch.zeros(2), "nan"),
        (torch.zeros(0), torch.zeros(0), "0.0"),
    ],
)
def test_allclose_prints_the_largest_difference(first, second, wanted, tmp_path, capsys):
    assert allclose.main([write(tmp_path / "1.pt", first), write(tmp_path / "2.pt", second)]) == 0
    assert capsys.readouterr().out == wanted + "\n"


@pytest.mark.parametrize(
    ("first", "second", "sentence"),
    [
        (torch.zeros(2), torch.zeros(3), "the shapes at '' differ: (2,) and (3,)"),
        ([torch.zeros(2)], [torch.zeros(2)] * 2, "only one of the files has a tensor at '[1]'"),
        ("text", torch.zeros(2), "the first file holds no tensor"),
    ],
)
def test_allclose_says_what_cannot_be_compared(first, second, sentence, tmp_path, capsys):
    assert allclose.main([write(tmp_path / "1.pt", first), write(tmp_path / "2.pt", second)]) == 2
    assert capsys.readouterr().err == sentence + "\n"


def accuracy(tmp_path, source: str, target: str) -> int:
    (tmp_path / "s.txt").write_text(source)
    (tmp_path / "t.txt").write_text(target)
    return compute_acc.main(["--src", str(tmp_path / "s.txt"), "--tgt", str(tmp_path / "t.txt")])


def test_compute_acc_counts_the_names_of_the_source(tmp_path, capsys):
    assert accuracy(tmp_path, "a yes\nb no\n\nc turn on\nd x\n", "d y\nc turn on\nb no\na no\ne other\n") == 0
    assert capsys.readouterr().out == "0.5\n"


@pytest.mark.parametrize(
    ("source", "target", "sentence"),
    [
        ("a 1\nb 2\n", "a 1\n", "1 of 2 names of the source are missing in the target, the first is 'b'"),
        ("a 1\na 2\n", "a 1\n", "line 2 of {tmp}/s.txt repeats the name 'a'"),
        ("a\n", "a 1\n", "line 1 of {tmp}/s.txt has no value for 'a'"),
        ("", "a 1\n", "the source file holds no line, so that there is no accuracy"),
    ],
)
def test_compute_acc_says_what_is_wrong(source, target, sentence, tmp_path, capsys):
    assert accuracy(tmp_path, source, target) == 2
    assert capsys.readouterr().err == sentence.format(tmp=tmp_path) + "\n"


def test_print_url_cache_path(server, tmp_path, capsys):
    server.files["/x.bin"] = b"content"
    url = server.url("/x.bin")
    assert print_url_cache_path.main([url, "--cache_dir", str(tmp_path), "--no_download"]) == 0
    assert not download.cached_path(url, tmp_path).exists()
    assert print_url_cache_path.main([url, "--cache_dir", str(tmp_path)]) == 0
    assert capsys.readouterr().out == f"{download.cached_path(url, tmp_path)}\n" * 2
    assert download.cached_path(url, tmp_path).read_bytes() == b"content"
    assert print_url_cache_path.main([server.url("/gone"), "--cache_dir", str(tmp_path)]) == 2


PROGRAMS = [
    "add_config_to_ckpt",
    "allclose",
    "compute_acc",
    "extract_features",
    "extract_settings",
    "get_best_dev",
    "get_best_score",
    "overwrite_settings",
    "print_settings",
    "print_url_cache_path",
    "visualize_weight",
]


@pytest.mark.parametrize("program", PROGRAMS)
def test_help_runs_from_the_repository(program, run_program):
    assert f"usage: {program}.py" in run_program(f"utility/{program}.py", "-h").stdout
