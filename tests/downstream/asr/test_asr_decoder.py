"""Words by lexicon and language model."""

from __future__ import annotations

import math
import sys
from pathlib import Path

import pytest
import torch

from downstream.asr.decoder import LanguageModelDecoder, decoder_type, number, read_lexicon
from downstream.asr.expert import DICTIONARY
from tests.downstream.asr.arpa import write_arpa, write_lexicon
from utility.errors import ConfigError, DataError, MissingDependencyError, UnknownNameError
from utility.text.letters import LetterDictionary

SENTENCES = ["THE DOG RAN", "THE DOG SAT", "A CAT SAT", "A CAT RAN", "THE DOG RAN"]


@pytest.fixture
def letters() -> LetterDictionary:
    return LetterDictionary.load(DICTIONARY)


@pytest.fixture
def described(tmp_path: Path) -> dict:
    write_arpa(tmp_path / "lm.arpa", SENTENCES)
    write_lexicon(tmp_path / "words.lst", SENTENCES)
    files = {"kenlm_model": str(tmp_path / "lm.arpa"), "lexicon": str(tmp_path / "words.lst")}
    return {"decoder_type": "kenlm", "unk_weight": "-math.inf", "beam": 50, "beam_threshold": 50, **files}


def spoken(letters: LetterDictionary, text: str, doubt: dict[int, str]) -> torch.Tensor:
    """Logits that say ``text`` (a letter, then a blank), a little less than some other letters at the places in ``doubt``."""
    numbers = letters.encode(text)[:-1]
    logits = torch.zeros(2 * len(numbers), len(letters))
    for place, number_ in enumerate(numbers):
        logits[2 * place, number_] = 8
        logits[2 * place + 1, letters.begin] = 8
        if place in doubt:
            logits[2 * place, letters.numbers[doubt[place]]] = 8.5
    return logits


def test_the_model_decides(letters: LetterDictionary, described: dict):
    for package in ("flashlight.lib.text", "kenlm"):
        pytest.importorskip(package)
    decode = LanguageModelDecoder(described, letters)
    assert decode(spoken(letters, "THE DOG RAN", {5: "U"})) == ["THE", "DOG", "RAN"]
    assert decode(spoken(letters, "A CAT SAT", {4: "R"})) == ["A", "CAT", "SAT"]
    assert decode(spoken(letters, "", {})[:0].reshape(0, 32)) == []


def test_the_model_is_a_distribution(tmp_path: Path):
    kenlm = pytest.importorskip("kenlm")
    write_arpa(tmp_path / "lm.arpa", SENTENCES)
    model = kenlm.Model(str(tmp_path / "lm.arpa"))
    words = sorted({word for sentence in SENTENCES for word in sentence.split()})
    for before in ("<s>", "DOG", "THE"):
        state, after = kenlm.State(), kenlm.State()
        model.BeginSentenceWrite(state) if before == "<s>" else model.BaseScore(kenlm.State(), before, state)
        total = sum(10 ** model.BaseScore(state, word, after) for word in [*words, "</s>", "<unk>"])
        assert total == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize("package", ["flashlight-text", "kenlm"])
def test_missing_packages(letters: LetterDictionary, described: dict, package: str, monkeypatch: pytest.MonkeyPatch):
    if package == "kenlm":
        pytest.importorskip("flashlight.lib.text")
    name = {"flashlight-text": "flashlight.lib.text", "kenlm": "flashlight.lib.text.decoder.kenlm"}[package]
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(MissingDependencyError, match=f"pip install {package}"):
        LanguageModelDecoder(described, letters)


@pytest.mark.parametrize(
    ("value", "wanted"), [("-math.inf", -math.inf), ("-inf", -math.inf), (-math.inf, -math.inf), ("math.inf", math.inf), ("-1", -1), (2, 2)]
)
def test_weights(value: object, wanted: float):
    assert number("unk_weight", value) == wanted


@pytest.mark.parametrize("value", ["__import__('os')", "math.sqrt(2)", "nan", None, [1]])
def test_wrong_weights(value: object):
    with pytest.raises(ConfigError, match="unk_weight must be a number, not"):
        number("unk_weight", value)


def test_types():
    assert [decoder_type(given) for given in (None, {}, {"decoder_type": None}, {"decoder_type": "None"})] == [None] * 4
    assert decoder_type({"decoder_type": "kenlm"}) == "kenlm"
    with pytest.raises(UnknownNameError, match="did you mean 'kenlm'"):
        decoder_type({"decoder_type": "ken"})
    with pytest.raises(ConfigError, match="nbest must be 1, not 3"):
        decoder_type({"nbest": 3})
    with pytest.raises(ConfigError, match="did you mean 'beam'"):
        decoder_type({"baem": 3})


@pytest.mark.parametrize("nothing", ["", None])
def test_empty_fields(letters: LetterDictionary, described: dict, nothing: str | None):
    with pytest.raises(ConfigError, match="decoder_args: field 'lexicon' is missing"):
        LanguageModelDecoder({**described, "lexicon": nothing}, letters)


def test_wrong_files(letters: LetterDictionary, described: dict, tmp_path: Path):
    for package in ("flashlight.lib.text", "kenlm"):
        pytest.importorskip(package)
    for field, sentence in (("kenlm_model", "there is no language model .*fetch_lists.py"), ("lexicon", "lexicon .* does not exist")):
        with pytest.raises(DataError, match=f"{field}: {sentence}"):
            LanguageModelDecoder({**described, field: "nowhere"}, letters)
    (tmp_path / "lm.arpa").write_text("no model")
    with pytest.raises(DataError, match=r"kenlm_model: KenLM cannot read .*lm\.arpa"):
        LanguageModelDecoder(described, letters)


def test_lexicon(letters: LetterDictionary, tmp_path: Path):
    path = tmp_path / "words.lst"
    path.write_text("IT\tI T |\nIT\tI T T |\n\nA\tA |\n")
    assert read_lexicon(path, letters) == {"IT": [[10, 6, 4], [10, 6, 6, 4]], "A": [[7, 4]]}
    path.write_text("CAFÉ\tC A F É |\n")
    with pytest.raises(DataError, match=r"line 1 of .* spells with 'É'"):
        read_lexicon(path, letters)
    path.write_text("\n")
    with pytest.raises(DataError, match="holds no line"):
        read_lexicon(path, letters)
