"""Programs about where recordings lie: diversity, t-SNE, and which training sets are nearest."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import soundfile
from matplotlib.image import imread
from scipy.spatial.distance import pdist

from downstream.mos_prediction.datastore import read_datastore, write_datastore
from downstream.mos_prediction.neighbours import Datastore
from downstream.mos_prediction.recipes import embeddings
from downstream.mos_prediction.recipes.embeddings import Source, embeddings_of
from downstream.mos_prediction.utils import calculate_diversity, draw_retrieval_id_heatmap, plot_embeddings
from tests.downstream.mos_prediction.layouts import rated_tones
from utility.errors import DataError


def store(path: Path, count: int = 40, width: int = 5, sets: int = 4, seed: int = 0) -> Path:
    """A datastore whose sets lie apart."""
    vectors = np.random.default_rng(seed).normal(0, 1, (count, width)) + 20 * (np.arange(count)[:, None] % sets)
    write_datastore(path, Datastore([f"{n % sets}_s_{n}" for n in range(count)], vectors.astype(np.float32), np.ones(count)))
    return path


def results(folder: Path, name: str, retrieved: list[int]) -> None:
    (folder / name).mkdir(parents=True)
    lines = ["system_id,avg_score,answer,retrieved_id", *(f"s,1,2,{number}" for number in retrieved)]
    (folder / name / "results.csv").write_text("\n".join(lines) + "\n")


def test_diversity_is_the_mean_over_all_pairs():
    vectors = (np.random.default_rng(0).normal(0, 1, (30, 7)) + 100).astype(np.float32)
    assert calculate_diversity.mean_squared_distance(vectors) == pytest.approx(pdist(vectors.astype(float), "sqeuclidean").mean(), rel=1e-9)
    assert calculate_diversity.mean_squared_distance(vectors[:1]) is None
    found = calculate_diversity.diversity(np.repeat(vectors, 10, axis=0))
    assert [count for _, count, _ in found] == [3, 6, 9, 12, 15, 30, 60, 75, 150, 300]
    assert found == calculate_diversity.diversity(np.repeat(vectors, 10, axis=0))
    assert found[5] != calculate_diversity.diversity(np.repeat(vectors, 10, axis=0), seed=1)[5]


def test_diversity_of_a_datastore(tmp_path, capsys):
    path = store(tmp_path / "a.npz")
    assert calculate_diversity.main(["--csv", str(path)]) == 0
    printed = capsys.readouterr().out.splitlines()
    assert [cell.strip() for cell in printed[2].split("|")[1:4]] == ["1 %", "0", "undefined"]
    assert float(printed[-1].split("|")[3]) == pytest.approx(pdist(read_datastore(path).embeddings, "sqeuclidean").mean(), abs=1e-3)


def test_embeddings_are_kept_and_told_apart(tmp_path, monkeypatch, capsys):
    table, calls = rated_tones(tmp_path, "train"), []

    def extracted(wavs, source):
        calls.append(source)
        return np.array([[float(wav.stem[1]), float(wav.stem[3])] for wav in wavs], np.float32)

    monkeypatch.setattr(embeddings, "extracted", extracted)
    words = ["--csv", str(table), "--embed_path", str(tmp_path / "kept.npz")]
    assert calculate_diversity.main(words) == 2
    assert "-u UPSTREAM makes their embeddings" in capsys.readouterr().err
    options = ["--s3prl_name", "fbank", "--ssl_model_layer_idx", "-1"]
    assert calculate_diversity.main([*words, *options]) == 0
    first = capsys.readouterr().out
    kept = read_datastore(tmp_path / "kept.npz")
    assert kept.names[5] == "sys1_s1u1"
    assert kept.embeddings[5].tolist() == [1, 1]
    for again in ([*words, *options], words, ["--csv", str(tmp_path / "kept.npz")]):
        assert calculate_diversity.main(again) == 0
        assert capsys.readouterr().out == first
    assert calls == [Source("fbank")]
    assert calculate_diversity.main([*words, "-u", "fbank", "--layer", "3"]) == 2
    assert "kept.npz.json does not say that kept.npz is of this upstream, layer and checkpoint" in capsys.readouterr().err
    for damage in (lambda path: path.write_text("{"), Path.unlink):
        damage(tmp_path / "kept.npz.json")
        assert calculate_diversity.main([*words, *options]) == 2
        assert "kept.npz.json does not say" in capsys.readouterr().err
    other = rated_tones(tmp_path, "other", systems=2)
    assert calculate_diversity.main(["--csv", str(other), *words[2:], *options]) == 2
    assert "kept.npz holds the embeddings of other samples" in capsys.readouterr().err
    assert calculate_diversity.main([*words[:3], "kept.txt", *options]) == 2
    assert "--embed_path must end in .npz" in capsys.readouterr().err


@pytest.mark.slow
def test_embeddings_by_an_upstream(tmp_path, capfd):
    import torch

    from upstream import registry

    table = rated_tones(tmp_path, "train", systems=1, samples=3)
    noise = 0.1 * np.random.default_rng(0).standard_normal(12 * 16000)
    long = tmp_path / "train/s0u1.wav"
    soundfile.write(long, noise, 16000, subtype="FLOAT")
    found = embeddings_of(table, Source("stft_mag", device="cpu"))
    net = registry.build("stft_mag").eval()
    for row, path, samples in zip(found.embeddings, sorted((tmp_path / "train").glob("*.wav")), (None, 160000, None), strict=True):
        wav = torch.from_numpy(soundfile.read(path, dtype="float32")[0][:samples])
        np.testing.assert_allclose(row, net([wav])["hidden_states"][-1][0].mean(0), rtol=1e-5, atol=1e-6)
    with pytest.raises(embeddings.StageError, match=r"extract_features.py ended with status 2"):
        embeddings_of(table, Source("stft_meg"))
    assert "unknown upstream 'stft_meg'" in capfd.readouterr().err


def test_sets_lie_apart_in_the_picture(tmp_path, capsys):
    path, out = store(tmp_path / "pool.npz"), tmp_path / "new/a.png"
    assert plot_embeddings.main(["--csv", str(path), "--domains", "a", "b", "c", "d", "--out", str(out), "--max_points", "8"]) == 0
    assert capsys.readouterr().out == f"{out}\n"
    assert imread(out).shape == (900, 1200, 4)
    sets = plot_embeddings.by_domain(read_datastore(path))
    assert list(sets) == ["0", "1", "2", "3"]
    points = plot_embeddings.projected(sets)
    centres = np.array([own.mean(0) for own in points.values()])
    assert all(len(own) == 10 for own in points.values())
    assert pdist(centres).min() > max(np.linalg.norm(own - own.mean(0), axis=1).max() for own in points.values())
    again = plot_embeddings.projected(sets)
    assert all(np.array_equal(points[name], again[name]) for name in sets)


def test_mistakes_in_plotting_are_one_sentence(tmp_path, capsys):
    path, wide, few = store(tmp_path / "a.npz"), store(tmp_path / "b.npz", width=6), store(tmp_path / "c.npz", count=3)
    for words, message in (
        ([path, wide], "embeddings of 5 and 6 numbers"),
        ([few], "t-SNE needs 4"),
        ([path, path], "2 different names"),
        ([path, "--domains", "a", "b"], "--domains has names of 0 to 1"),
        ([path, wide, "--domains"], "the datastore of one pool"),
        ([path, "--perplexity", "0"], "must be above 0"),
    ):
        assert plot_embeddings.main(["--out", str(tmp_path / "x.png"), "--csv", *map(str, words)]) == 2
        error = capsys.readouterr().err
        assert message in error
        assert error.count("\n") == 1
    assert not (tmp_path / "x.png").exists()


def test_the_heat_map_of_retrieved_sets(tmp_path, capsys):
    results(tmp_path / "r", "somos_test", [1, 1, 1, 0])
    results(tmp_path / "r", "bvcc_test", [0, 2])
    out = tmp_path / "new/map.png"
    words = ["--dir", str(tmp_path / "r"), "--out", str(out)]
    assert draw_retrieval_id_heatmap.main([*words, "--names", "bvcc", "somos", "nisqa", "pstn"]) == 0
    printed = capsys.readouterr().out.splitlines()
    assert [cell.strip() for cell in printed[0].split("|")[1:-1]] == ["test set", "bvcc", "somos", "nisqa", "pstn"]
    assert [cell.strip() for cell in printed[2].split("|")[1:-1]] == ["bvcc_test", "50.0", "0.0", "50.0", "0.0"]
    assert [cell.strip() for cell in printed[3].split("|")[1:-1]] == ["somos_test", "25.0", "75.0", "0.0", "0.0"]
    assert imread(out).ndim == 3
    assert draw_retrieval_id_heatmap.main([*words, "--names", "bvcc", "somos"]) == 2
    assert "training set 2 was retrieved, and there are names of 0 to 1: bvcc, somos" in capsys.readouterr().err
    columns, shares = draw_retrieval_id_heatmap.shares_of({"a": Counter([2, 2])})
    assert columns == ["0", "1", "2"]
    assert shares.tolist() == [[0, 0, 1]]


def test_names_of_the_pool_in_the_working_directory(monkeypatch, tmp_path):
    egs = Path(draw_retrieval_id_heatmap.__file__).parents[1] / "egs"
    monkeypatch.chdir(egs / "bvcc+nisqa+pstn+singmos+somos+tencent+tmhint-qi")
    assert draw_retrieval_id_heatmap.pool_here() == ["bvcc", "nisqa", "pstn", "singmos", "somos", "tencent", "tmhint-qi"]
    for folder in (egs / "bvcc", tmp_path):
        monkeypatch.chdir(folder)
        assert draw_retrieval_id_heatmap.pool_here() == []


def test_results_without_retrieved_sets(tmp_path):
    with pytest.raises(DataError, match=r"no \*/results.csv there"):
        draw_retrieval_id_heatmap.retrieved([tmp_path])
    (tmp_path / "a").mkdir()
    (tmp_path / "a/results.csv").write_text("system_id,answer\ns,1\n")
    with pytest.raises(DataError, match=r"retrieved_id.*domain_id_knn_1"):
        draw_retrieval_id_heatmap.retrieved([tmp_path])
    (tmp_path / "a/results.csv").write_text("retrieved_id\nx\n")
    with pytest.raises(DataError, match="line 2: 'x' is no number of a training set"):
        draw_retrieval_id_heatmap.retrieved([tmp_path])
