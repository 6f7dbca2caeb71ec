"""Rules, splits and files of the recipes on small sets of our own, and what is said of broken ones."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
import soundfile

from downstream.mos_prediction.preparation.recipe import Rule, read_recipe
from downstream.mos_prediction.preparation.rows import Wishes, rows_of_set
from downstream.mos_prediction.preparation.tables import averaged, pool
from downstream.mos_prediction.recipes.data import prepare
from downstream.mos_prediction.table import read_table
from tests.downstream.mos_prediction.archives import EGS
from utility.errors import ConfigError, DataError

BENCHMARKS = EGS.parent / "utils" / "BENCHMARKS"


def wav(path: Path, rate: int = 16000) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, 0.1 * np.sin(np.arange(rate // 10)), rate)


def lines(path: Path, *rows: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{row}\n" for row in rows), encoding="utf-8")


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


# What no recorded archive covers: ids as specs/mos-prediction.md, 4 has them.
IDS = {
    ("bc23", "bc23b_test", "VoiceMOS2023Track1-A-AD_test_0026"): "A-AD",
    ("svcc23", "svcc23_test", "VoiceMOS2023Track2-B01-x-1"): "B01",
    ("tmhint-qi-s", "tmhint_qi_s_test", "T3-Noisy_snr5_white_TMHINT_g_01_05"): "Noisy_snr5_white_TMHINT",
    ("tmhint-qi-s", "tmhint_qi_s_test", "T3-clean_TMHINT_g_01_05"): "clean_TMHINT",
    ("vmc23", "vmc23_track2_test", "VoiceMOS2023Track2-B01-x-1"): "B01",
    ("vmc23", "vmc23_track3_test", "T3-clean_TMHINT_g_01_05"): "clean_TMHINT",
}


@pytest.mark.parametrize(("key", "wanted"), IDS.items(), ids=lambda value: value if isinstance(value, str) else value[1])
def test_ids(key, wanted):
    recipe, name, listed = key
    columns = {"id": listed, "mos": "3"}
    for column, rule in read_recipe(EGS / recipe).rated(name).layout.columns.items():
        columns[column] = rule.value(columns, "here")
    assert (columns["system_id"], columns["sample_id"], columns["wav"]) == (wanted, listed, f"{listed}.wav")


def test_rows_of_no_system_and_of_the_other_voice_are_left_out(tmp_path):
    lines(tmp_path / "answers/answer.csv", "T3-TMHINT_g_01_05,3.1", "T3-clean_TMHINT_g_01_05,4.2")
    for name in ("T3-TMHINT_g_01_05", "T3-clean_TMHINT_g_01_05"):
        wav(tmp_path / "wavs" / f"{name}.wav")
    prepare(read_recipe(EGS / "tmhint-qi-s"), tmp_path, tmp_path / "data", Wishes())
    assert [row["score"] for row in rows(tmp_path / "data/tmhint_qi_s_test.csv")] == ["4.2"]
    lines(tmp_path / "answers/answer.csv", "V-A-AD_test_1,2.5", "V-A-NEB_test_1,3.5")
    for name in ("V-A-AD_test_1", "V-A-NEB_test_1"):
        wav(tmp_path / "wavs" / f"{name}.wav")
    prepare(read_recipe(EGS / "bc23"), tmp_path, tmp_path / "data", Wishes())
    assert [[row["score"] for row in rows(tmp_path / f"data/bc23{half}_test.csv")] for half in "ab"] == [["3.5"], ["2.5"]]


def pstn(folder: Path, count: int = 40) -> None:
    names = [f"{number:06d}_{number % 7:x}.wav" for number in range(count)]
    listed = [f"{name},{1 + number / count:.3f},0,0,4" for number, name in enumerate(names)]
    lines(folder / "train/pstn_train.csv", "filename,MOS,std,95%CI,votes", *listed)
    for name in names:
        wav(folder / "train" / name, 8000)


def halves_of(folder: Path, seed: int, *names: str) -> list[list[str]]:
    """The samples of a recipe's sets, one for each row."""
    recipe = read_recipe(EGS / names[0])
    return [[row["sample_id"] for row in rows_of_set(recipe, recipe.rated(name), str(folder), Wishes(seed))] for name in names[1:]]


def test_a_split_is_apart_whole_and_the_same_each_time(tmp_path):
    pstn(tmp_path)
    train, dev = halves_of(tmp_path, 5, "pstn", "pstn_train", "pstn_dev")
    assert not set(train) & set(dev)
    assert (len(set(train)), len(set(dev))) == (36, 4)
    assert halves_of(tmp_path, 5, "pstn", "pstn_train", "pstn_dev") == [train, dev]
    assert halves_of(tmp_path, 6, "pstn", "pstn_dev") != [dev]


def test_ratings_of_one_recording_stay_in_one_half(tmp_path):
    rated = [f"{number},Noisy,{number // 3},0,white,{1 + number % 5},,Noisy_white_0_{number // 3}" for number in range(60)]
    lines(tmp_path / "raw_data.csv", "idx,method,uttr,snr,noise,quality_score,intelligibility_score,file_name", *rated)
    for number in range(20):
        wav(tmp_path / "train" / f"Noisy_white_0_{number}.wav")
    halves = halves_of(tmp_path, 1337, "tmhint-qi", "tmhintqi_train", "tmhintqi_dev")
    assert [len(half) for half in halves] == [54, 6]
    assert not set(halves[0]) & set(halves[1])


def test_resampled_copies_are_made_once_and_listed_by_absolute_paths(tmp_path, monkeypatch):
    pstn(tmp_path / "downloads", 10)
    monkeypatch.chdir(tmp_path)
    for _ in range(2):
        prepare(read_recipe(EGS / "pstn"), Path("downloads"), Path("data"), Wishes(sample_rate=16000, jobs=3))
        times = {path: path.stat().st_mtime_ns for path in (tmp_path / "downloads").rglob("wav_16000/*.wav")}
    found = read_table("data/pstn_train.csv")
    assert len(times) == 10
    assert all(rating.wav_path.startswith(str(tmp_path)) for rating in found)
    assert {soundfile.info(rating.wav_path).samplerate for rating in found} == {16000}
    prepare(read_recipe(EGS / "pstn"), Path("downloads"), Path("data"), Wishes(sample_rate=16000))
    assert times == {path: path.stat().st_mtime_ns for path in times}


BROKEN = {
    "no list": (None, "list .*pstn_train.csv does not exist; stage -1"),
    "no column": (("filename,mos", "000001_a.wav,3"), "has no column 'MOS'"),
    "no number": (("filename,MOS", "000001_a.wav,good"), "line 2: the score 'good' is no number"),
    "no recording": (("filename,MOS", "000009_a.wav,3"), r"line 2: there is no recording .*000009_a\.wav"),
    "two of an id": (("filename,MOS", "000001_a.wav,3", "000001_b.wav,3"), "the sample id 000001 means both"),
    "no row": (("filename,MOS",), "no row is left"),
}


@pytest.mark.parametrize(("content", "message"), BROKEN.values(), ids=BROKEN)
def test_broken_lists_are_named(content, message, tmp_path):
    for name in ("000001_a.wav", "000001_b.wav"):
        wav(tmp_path / "train" / name)
    if content:
        lines(tmp_path / "train/pstn_train.csv", *content)
    recipe = read_recipe(EGS / "pstn")
    with pytest.raises(DataError, match=message):
        rows_of_set(recipe, recipe.rated("pstn_train"), str(tmp_path))


def test_broken_recipes_are_named(tmp_path):
    path = tmp_path / "recipe.yaml"
    with pytest.raises(DataError, match=r"is no recipe: it has no recipe\.yaml"):
        read_recipe(tmp_path)
    path.write_text("resampel: true\n")
    with pytest.raises(ConfigError, match="unknown field 'resampel'; did you mean 'resample'"):
        read_recipe(tmp_path)
    path.write_text("layout: {columns: {wav: '{a}'}, output: [wav_path]}\nsets: {x: {role: trian, parts: []}}\n")
    with pytest.raises(ConfigError, match="role must be one of train, dev, test"):
        read_recipe(tmp_path)
    with pytest.raises(ConfigError, match="is no regular expression"):
        Rule.of({"from": "{a}", "match": "("}, "here")
    with pytest.raises(DataError, match="'x' is not of the form"):
        Rule("{a}", "[0-9]+").value({"a": "x"}, "here")


def test_means_replace_ratings():
    given = [{"sample_id": "a", "score": str(score), "listener_id": "l", "wav_path": "w"} for score in (3, 3, 4)]
    assert averaged(given) == [{"sample_id": "a", "wav_path": "w", "avg_score": "3.3333333333333335"}]


def test_a_pool_needs_every_file(tmp_path):
    with pytest.raises(DataError, match=r"table .*none\.csv does not exist; stage 0 of its recipe makes it"):
        pool([tmp_path / "none.csv"])


def test_pools_name_what_the_recipes_write():
    for folder in (path.parent for path in EGS.glob("*/recipe.yaml")):
        recipe = read_recipe(folder)
        for role, paths in recipe.pool.items():
            for path in paths:
                own = read_recipe(folder / Path(path).parents[1])
                assert own.rated(Path(path).stem).role == role


def test_every_recipe_has_its_scripts_and_configs():
    for folder in (path.parent for path in sorted(EGS.glob("*/recipe.yaml"))):
        recipe = read_recipe(folder)
        assert (folder / "utils/run.sh").is_file()
        assert (folder / "run.sh").is_file() == bool(recipe.train)
        assert all(path.is_file() for path in (folder / "conf").glob("*"))
        if recipe.train:
            assert (folder / recipe.conf).is_file()
        if any(rated.result for rated in recipe.sets.values()):
            assert (BENCHMARKS / f"run_{recipe.name.replace('-', '_')}_test.sh").is_file()
