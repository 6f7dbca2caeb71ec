"""The speech engine: independence of utterances, alignments, voices, noise."""

from __future__ import annotations

import sys
from dataclasses import replace

import numpy as np
import pytest

from preprocess.synthesis import engine, noise, speech_commands, texts, voices
from preprocess.synthesis.draws import generator
from preprocess.synthesis.engine import SAMPLE_RATE, Voice, synthesize
from preprocess.synthesis.phones import CONSONANTS, FRAME_CLASSES, SILENCE, VOWELS, frame_labels, to_arpabet, without_stress
from utility.errors import DataError, MissingDependencyError, UnknownNameError

TEXT = "the quick brown fox, jumps over a lazy dog"


def power(wav: np.ndarray) -> float:
    return float(np.mean(np.square(wav, dtype=np.float64)))


@pytest.mark.parametrize("variant", ["f3", "whisper", "croak", "m1"])
def test_an_utterance_does_not_depend_on_the_one_before(variant):
    alone = synthesize(TEXT, Voice(variant), seed=4)
    synthesize("something else altogether", Voice("f2", pitch=1.3, rate=300, pitch_range=2), seed=9)
    again = synthesize(TEXT, Voice(variant), seed=4)
    assert np.array_equal(alone.wav, again.wav)
    assert alone.phones == again.phones


def test_the_seed_changes_breath_and_nothing_else():
    first, second = (synthesize(TEXT, Voice("whisper"), seed) for seed in (1, 2))
    assert first.phones == second.phones
    assert not np.array_equal(first.wav, second.wav)


def test_phones_are_those_of_the_words():
    labels = [phone.label for phone in synthesize(TEXT, Voice("m1")).phones]
    expected = "DH AH0 K W IH1 K B R AW1 N F AA1 K S SIL JH AH1 M P S OW2 V ER0 AH0 L EY1 Z IY0 D AA1 G"
    assert " ".join(labels[1:-1]) == expected
    assert labels[0] == labels[-1] == SILENCE


def test_phones_are_gapless_ordered_and_of_plausible_length():
    rng = np.random.default_rng(0)
    for index in range(10):
        spoken = synthesize(texts.sentence(rng, "train"), voices.speaker(0, "train", index, ("en-us",)).voice)
        starts, ends, labels = zip(*spoken.phones, strict=True)
        assert starts[0] == 0
        assert starts[1:] == ends[:-1]
        assert ends[-1] == pytest.approx(len(spoken.wav) / SAMPLE_RATE)
        inner = [end - start for start, end, label in spoken.phones if label != SILENCE]
        assert min(inner) > 0.01 and max(inner) < 0.5 and 0.06 < np.mean(inner) < 0.12
        assert {without_stress(label) for label in labels} <= set(FRAME_CLASSES)


def test_vowels_are_loud_and_silences_are_silent():
    spoken = synthesize("the happy dog, and the angry cat, walked along the road", Voice("m3"))
    by_kind = {"vowel": [], "silence": [], "s": []}
    for start, end, label in spoken.phones:
        part = spoken.wav[round(start * SAMPLE_RATE) : round(end * SAMPLE_RATE)]
        kind = "vowel" if without_stress(label) in VOWELS else "silence" if label == SILENCE else None
        if kind and len(part) > 160:
            by_kind[kind].append(power(part))
    assert np.median(by_kind["vowel"]) > 1000 * np.median(by_kind["silence"])


def test_fricatives_are_high_and_vowels_low_in_frequency():
    spoken = synthesize("see the essay", Voice("m3"))
    centres = {}
    for start, end, label in spoken.phones:
        part = spoken.wav[round(start * SAMPLE_RATE) : round(end * SAMPLE_RATE)]
        spectrum = np.abs(np.fft.rfft(part, 4096)) ** 2
        centres.setdefault(label, float(spectrum @ np.fft.rfftfreq(4096, 1 / SAMPLE_RATE) / max(spectrum.sum(), 1e-12)))
    assert centres["S"] > 3500 > 1500 > centres["EH1"]


def test_words_lie_where_their_phones_are():
    spoken = synthesize(TEXT, Voice("m1"))
    assert [word.label for word in spoken.words] == TEXT.replace(",", "").split()
    fox = next(word for word in spoken.words if word.label == "fox")
    assert [p.label for p in spoken.phones if fox.start <= p.start < fox.end] == ["F", "AA1", "K", "S"]


def test_an_l_after_a_vowel_keeps_a_share_of_it():
    phones = synthesize("silver", Voice("max")).phones
    lengths = {phone.label: phone.end - phone.start for phone in phones}
    assert [phone.label for phone in phones][1:-1] == ["S", "IH1", "L", "V", "ER0"]
    assert lengths["L"] > 0.02


def pitch_of(wav: np.ndarray) -> float:
    """Hz, from the median lag of the autocorrelation over voiced frames."""
    lags = []
    for frame in np.lib.stride_tricks.sliding_window_view(wav, 1024)[::320]:
        frame = frame - frame.mean()
        correlation = np.correlate(frame, frame, "full")[1023:]
        lag = 40 + int(np.argmax(correlation[40:320]))
        if correlation[lag] > 0.6 * correlation[0] > 0.01:
            lags.append(lag)
    return SAMPLE_RATE / float(np.median(lags))


def test_rate_pitch_and_tract_do_what_they_say():
    text, plain = "we were away a year ago", Voice("f4")
    seconds = {rate: np.subtract(*synthesize(text, replace(plain, rate=rate)).speech[::-1]) for rate in (120, 240)}
    assert seconds[120] / seconds[240] == pytest.approx(2, rel=0.15)
    base = pitch_of(synthesize(text, plain).wav)
    assert pitch_of(synthesize(text, replace(plain, pitch=1.25)).wav) / base == pytest.approx(1.25, rel=0.06)
    assert pitch_of(synthesize(text, replace(plain, pitch=0.8)).wav) / base == pytest.approx(0.8, rel=0.06)
    longer = synthesize(text, replace(plain, tract=1.1))
    assert pitch_of(longer.wav) / base == pytest.approx(1, rel=0.05)
    assert np.diff(longer.speech) == pytest.approx(np.diff(synthesize(text, plain).speech), rel=0.05)


@pytest.mark.parametrize("text", ["", "   ", "..."])
def test_nothing_to_speak_is_an_error(text):
    with pytest.raises(DataError, match="nothing to speak"):
        synthesize(text, Voice("m1"))


def test_unknown_voices_are_named():
    with pytest.raises(UnknownNameError, match=r"voice variant 'm33'; did you mean 'm3'"):
        synthesize("hello", Voice("m33"))
    with pytest.raises(UnknownNameError, match="accent 'en-xx'"):
        synthesize("hello", Voice("m3", accent="en-xx"))


def test_without_the_engine_one_sentence_names_the_package(monkeypatch):
    monkeypatch.setitem(sys.modules, "espeakng_loader", None)
    monkeypatch.setattr(engine, "_locate", engine._locate.__wrapped__)
    with pytest.raises(MissingDependencyError, match="pip install espeakng-loader"):
        synthesize("hello", Voice("m3"))


def test_errors_in_the_callback_are_raised(monkeypatch):
    def broken(self, events):
        raise RuntimeError("in the callback")

    monkeypatch.setattr(engine._Recorder, "_note", broken)
    with pytest.raises(RuntimeError, match="in the callback"):
        synthesize("hello", Voice("m3"))


def test_pools_are_disjoint_and_all_their_voices_speak():
    every = [name for pool in (*voices.POOLS.values(), voices.BABBLE) for name in pool]
    assert len(every) == len(set(every)) > 85
    for name in every:
        assert power(synthesize("a", Voice(name, rate=300)).wav) > 1e-5, name


def test_speakers_are_fixed_by_seed_and_index():
    assert voices.speaker(0, "train", 3) == voices.speaker(0, "train", 3) != voices.speaker(1, "train", 3)
    pool = len(voices.POOLS["dev"])
    first, reused = (voices.speaker(0, "dev", index).voice for index in (2, 2 + pool))
    assert first.variant == reused.variant and first != reused


@pytest.mark.parametrize("accent", sorted(set(voices._ACCENTS)))
def test_sounds_of_all_accents_have_phones(accent):
    words = speech_commands.KEYWORDS + speech_commands.OTHER_WORDS
    spoken = synthesize(", ".join(words), Voice("m1", accent=accent, rate=450))
    assert [word.label for word in spoken.words] == list(words)


def test_arpabet_has_39_phones_and_unknown_names_are_refused():
    assert len(VOWELS + CONSONANTS) == 39 and len(FRAME_CLASSES) == 41
    assert to_arpabet(["z", "'i@", "r", "oU"]) == [("Z",), ("IH1",), ("R",), ("OW0",)]
    assert to_arpabet(["aI", "d", "'i@"]) == [("AY0",), ("D",), ("IY1", "AH0")]
    assert to_arpabet(["S", "'I", "v", "3", "r-", "I", "N"])[4] == ()
    with pytest.raises(ValueError, match="'R2'"):
        to_arpabet(["R2"])


def test_frame_labels_take_the_phone_at_the_middle_of_10_ms():
    phones = [(0.0, 0.02, "SIL"), (0.02, 0.044, "AA1"), (0.044, 0.06, "S")]
    assert frame_labels(phones, 0.069).tolist() == [0, 0, 2, 2, FRAME_CLASSES.index("S"), FRAME_CLASSES.index("S")]


def test_sentences_vary_and_belong_to_one_split():
    split_sentences = {}
    for split in ("train", "dev", "test"):
        rng = np.random.default_rng(5)
        split_sentences[split] = {texts.words_of(texts.sentence(rng, split)) for _ in range(300)}
        assert len(split_sentences[split]) > 295
    assert not split_sentences["train"] & split_sentences["dev"]
    assert not split_sentences["train"] & split_sentences["test"]
    assert not split_sentences["dev"] & split_sentences["test"]
    words = {word for sentences in split_sentences.values() for sentence in sentences for word in sentence.split()}
    assert len(words) > 300 and words <= set(texts.vocabulary())


@pytest.mark.parametrize("snr", [-5.0, 5.0, 25.0])
def test_mixing_has_the_asked_ratio_where_the_speech_is(snr):
    speech = np.zeros(16000)
    speech[4000:9000] = np.sin(np.arange(5000))
    mixed = noise.mix(speech, generator(0).standard_normal(16000), snr, slice(4000, 9000))
    added = mixed - speech
    assert 10 * np.log10(power(speech[4000:9000]) / power(added[4000:9000])) == pytest.approx(snr, abs=0.01)
    assert power(added[:4000]) > 0


@pytest.mark.parametrize("kind", noise.KINDS)
def test_noises_are_fixed_by_their_generator_and_of_unit_power(kind):
    first, second, other = (noise.background(kind, 32000, generator(number)) for number in (1, 1, 2))
    assert np.array_equal(first, second) and not np.array_equal(first, other)
    assert power(first) == pytest.approx(1, rel=0.5)


def test_pink_noise_falls_by_three_decibels_per_octave():
    spectrum = np.abs(np.fft.rfft(noise.pink(160000, generator(0)))) ** 2
    hertz = np.fft.rfftfreq(160000, 1 / SAMPLE_RATE)
    low, high = (spectrum[(hertz > f) & (hertz < 2 * f)].mean() for f in (250, 2000))
    assert 10 * np.log10(low / high) == pytest.approx(9.03, abs=0.5)
