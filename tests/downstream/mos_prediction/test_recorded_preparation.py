"""The csv files that SHEET's own scripts made of small archives in the official layouts, byte for byte."""

from __future__ import annotations

import csv
import json
import random
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile

from downstream.mos_prediction.preparation.recipe import Part, Recipe, Split, read_recipe
from downstream.mos_prediction.preparation.rows import Wishes, rows_of_set
from downstream.mos_prediction.preparation.splits import chosen
from downstream.mos_prediction.preparation.tables import POOLED, averaged, columns_of, pool, write_rows

REPO = Path(__file__).resolve().parents[3]
RECORDED, EGS = REPO / "tests/golden/mos/data_prep", REPO / "downstream/mos_prediction/egs"
TWO_STEPS = 2 / 32768
COMMANDS = json.loads((RECORDED / "commands.json").read_text())


def options(args: list[str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for word in args:
        if word.startswith("--"):
            last = found.setdefault(word.removeprefix("--").replace("_", "-"), [])
        else:
            last.append(word)
    return found


def prepared(command: dict, given: dict[str, list[str]], root: str) -> tuple[list[dict], list[str]]:
    """What our recipe makes of the lists and options of a recorded command."""
    recipe: Recipe = read_recipe(EGS / command["recipe"])
    half = given.get("setname", ["test"])[0]
    half = None if half == "test" else half
    base = next(own for own in recipe.sets.values() if own.half == half or half is None)
    lists = given["answer-path"] if "answer-path" in given else given["original-path"]
    parts = [Part(path, given["wavdir"][0], *given.get("target-wavdir", ())) for path in lists]
    domain = int(given["domain-idx"][0]) if "domain-idx" in given else None
    rated = replace(base, parts=parts, half=half, listener_idx="generate-listener-id" in given, domain_idx=domain)
    recipe = replace(recipe, split=Split(float(given.get("dev-ratio", ["0.1"])[0]), recipe.split.order))
    seed = command["generator_seed"] or int(given.get("seed", ["1337"])[0])
    most = int(given["num-total-samples"][0]) if "num-total-samples" in given else None
    rows = rows_of_set(recipe, rated, root, Wishes(seed, 16000 if "resample" in given else None, most))
    average = "avg-score-only" in given
    return averaged(rows) if average else rows, columns_of(rated.layout.output, average)


def working_copy(recipe: str, place: Path) -> Path:
    """The archive without what the peer made of it; hablamos' list comes without its recordings."""
    made = shutil.ignore_patterns("*_16000", "data")
    folder = Path(shutil.copytree(RECORDED / recipe, place / recipe, ignore=made))
    if recipe == "hablamos":
        with (folder / "originals" / "test.csv").open() as file:
            paths = [folder / "HablaMOS" / row["wav_path"] for row in csv.DictReader(file)]
        for path in paths:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
    return folder


INTENDED = {"tcd-voip": "intended.csv", "brspeechmos": "intended.csv"}
OF_A_LISTING = ("tmhint-qi-train", "tmhint-qi-dev")  # test_split_of_the_recorded_listing compares their rule


def name_of(command: dict) -> str:
    return f"{command['recipe']}-{command['label'].replace(' ', '_')}"


CASES = [
    command
    for command in COMMANDS
    if (command["outputs"] or command["recipe"] in INTENDED) and command["working_dir"] != "pooled" and name_of(command) not in OF_A_LISTING
]


@pytest.mark.parametrize("command", CASES, ids=name_of)
def test_equals_the_recorded_file(command, tmp_path, monkeypatch):
    folder = working_copy(command["working_dir"], tmp_path)
    monkeypatch.chdir(folder)
    rows, columns = prepared(command, options(command["args"]), f"{folder}" if command["recipe"] == "somos" else "")
    out, expected = folder / "out.csv", RECORDED / command["working_dir"] / (command["outputs"] or [INTENDED.get(command["recipe"])])[0]
    write_rows(out, rows, columns)
    wanted = expected.read_bytes().replace(b"@WORKING_DIR@", str(folder).encode())
    assert out.read_bytes() == wanted
    for copy in folder.rglob("*_16000/**/*.wav"):
        compare_audio(copy, RECORDED / command["working_dir"] / copy.relative_to(folder))


def compare_audio(ours: Path, theirs: Path) -> None:
    assert soundfile.info(ours).subtype == "PCM_16"
    (own, rate), (other, other_rate) = soundfile.read(ours), soundfile.read(theirs)
    assert rate == other_rate == 16000
    np.testing.assert_allclose(own, other, rtol=0, atol=TWO_STEPS)


def test_split_of_the_recorded_listing():
    listing = json.loads((RECORDED / "tmhint-qi" / "listing_order.json").read_text())
    for half in ("train", "dev"):
        with (RECORDED / "tmhint-qi" / "data" / f"tmhintqi_{half}.csv").open() as file:
            wanted = {f"{row['sample_id']}.wav" for row in csv.DictReader(file)}
        assert chosen(listing, Split(0.3), half, random.Random(1337)) == wanted


def test_pool(tmp_path):
    command = next(c for c in COMMANDS if c["working_dir"] == "pooled")
    paths = [RECORDED / path.removeprefix("../") for path in options(command["args"])["original-paths"]]
    write_rows(tmp_path / "train.csv", pool(paths), POOLED)
    assert (tmp_path / "train.csv").read_bytes() == (RECORDED / "pooled" / "data" / "train.csv").read_bytes()


def test_plain_nisqa_has_the_intended_columns(tmp_path, monkeypatch):
    command = next(c for c in COMMANDS if c["recipe"] == "nisqa" and c["label"] == "plain")
    folder = working_copy("nisqa", tmp_path)
    monkeypatch.chdir(folder)
    rows, columns = prepared(command, options(command["args"]), "")
    write_rows(folder / "out.csv", rows, columns)
    lines = (folder / "out.csv").read_text().splitlines()
    assert lines[0] == "wav_path,system_id,sample_id,score"
    assert lines[1] == "NISQA_VAL_LIVE/deg/c00003_e6353.wav,3,c00003_e6353,3.821"
