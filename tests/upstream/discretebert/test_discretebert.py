"""Discrete BERT on tiny nets; no output of the original was recorded."""

from __future__ import annotations

from argparse import Namespace

import pytest
import torch
from torch import Tensor, nn

from tests.upstream.waveform_classics.tiny import checkpoint, noise
from upstream.discretebert.tokens import Vocabulary, vocabulary_of
from upstream.registry import build, find
from utility.errors import CheckpointError

WIDTH, HEADS, INNER, LAYERS, PLACES = 8, 2, 12, 2, 12
WORDS = [f"{a}-{b}" for a in range(10) for b in range(10) if (a, b) != (3, 3)]
PREFIX = "encoder.sentence_encoder."


class Plain(nn.Module):
    """The same net from PyTorch's own parts."""

    def __init__(self):
        super().__init__()
        self.words, self.places = nn.Embedding(104, WIDTH), nn.Embedding(PLACES + 2, WIDTH)
        self.norm = nn.LayerNorm(WIDTH)
        self.layers = nn.ModuleList(nn.TransformerEncoderLayer(WIDTH, HEADS, INNER, 0.0, "gelu", batch_first=True) for _ in range(LAYERS))

    def forward(self, tokens: Tensor) -> list[Tensor]:
        states = [self.norm(self.words(tokens) + self.places(torch.arange(2, 2 + tokens.size(1))))]
        for layer in self.layers:
            states.append(layer(states[-1]))
        return states

    def fairseq_weights(self, joint: bool) -> dict[str, Tensor]:
        names = {"words.": "embed_tokens.", "places.": "embed_positions.", "norm.": "emb_layer_norm."}
        names |= {"linear1": "fc1", "linear2": "fc2", "norm1": "self_attn_layer_norm", "norm2": "final_layer_norm"}
        found: dict[str, Tensor] = {}
        for name, value in self.state_dict().items():
            for old, new in names.items():
                name = name.replace(old, new) if name.startswith("layers") is old.startswith(("linear", "norm1", "norm2")) else name
            if "in_proj_" in name and not joint:
                stem, _, kind = name.rpartition("in_proj_")
                found |= {f"{PREFIX}{stem}{p}_proj.{kind}": piece for p, piece in zip("qkv", value.chunk(3), strict=True)}
            else:
                found[PREFIX + name] = value
        return {**found, "encoder.lm_head.bias": torch.ones(104)}


@pytest.fixture(params=[True, False], ids=["joint", "separate"])
def made(request, tmp_path):
    """What builds the upstream with some options, the plain net and the codes' upstream."""
    torch.manual_seed(0)
    plain = Plain().eval()
    for value in plain.parameters():
        value.data += 0.1 * torch.randn_like(value)
    text = "\n".join(f"{word} 1" for word in WORDS) + "\n"
    content = {
        "task_cfg": {},
        "model_cfg": Namespace(arch="roberta_base", encoder_attention_heads=HEADS, dropout=0.0, attention_dropout=0.0),
    }
    torch.save({**content, "model_weight": plain.fairseq_weights(request.param), "text_dictionary": text}, tmp_path / "bert.pt")
    entry, arguments = checkpoint("kmeans", tmp_path)
    options = {"ckpt": str(tmp_path / "bert.pt"), "frontend": arguments["ckpt"]}
    return lambda **more: build("discretebert", **options, **more).eval(), plain, build(entry, **arguments).eval()


def expected(codes: Tensor, plain: Plain) -> list[Tensor]:
    """The states of one utterance's codes, in windows of the position table."""
    tokens = [0, *(4 + WORDS.index(f"{a}-{b}") if f"{a}-{b}" in WORDS else 3 for a, b in codes.tolist()), 2]
    windows = [plain(torch.tensor([tokens[i : i + PLACES]])) for i in range(0, len(tokens), PLACES)]
    return [torch.cat(parts, 1)[0] for parts in zip(*windows, strict=True)]


def test_states_are_those_of_a_plain_transformer_over_the_codes(made):
    make, plain, codes = made
    wavs = noise(4000, 2600, 1500)
    for independent in (True, False):
        upstream = make(batch_independent=independent)
        with torch.no_grad():
            result = upstream(wavs)
            together = codes(wavs)
            assert result["lengths"].tolist() == (together["lengths"] + 2).tolist() and len(result["hidden_states"]) == 1 + LAYERS
            for index, wav in enumerate(wavs):
                own = codes([wav])["codeids"][0] if independent else together["codeids"][index, : int(together["lengths"][index])]
                for ours, theirs in zip(result["hidden_states"], expected(own, plain), strict=True):
                    torch.testing.assert_close(ours[index, : len(theirs)], theirs, rtol=1e-4, atol=1e-5)
                    assert not ours[index, len(theirs) :].any()


def test_gradients_reach_the_roberta_alone(made):
    upstream = made[0]().train()
    upstream(noise(4000, 2600))["last_hidden_state"].pow(2).sum().backward()
    assert upstream.roberta.embeddings.word_embeddings.weight.grad.any()
    assert not any(parameter.requires_grad for parameter in upstream.frontend.parameters())


def test_names():
    for name in ("discretebert", "vq_wav2vec_kmeans_roberta"):
        assert find(name).kwargs["ckpt"].endswith("vq_wav2vec_kmeans_roberta.pt") and len(find(name).record.hidden_sizes) == 13


def test_vocabularies(tmp_path):
    specials = ["<s>", "<pad>", "</s>", "<unk>"]
    forms = ["0-1 7\n0-2 3\n", ["0-1", "0-2"], {"symbols": [*specials, "0-1", "0-2"]}]
    for form in forms:
        vocabulary = vocabulary_of(form, tmp_path)
        assert isinstance(vocabulary, Vocabulary) and len(vocabulary) == 6
        assert vocabulary.encode(torch.tensor([[0, 2], [0, 1], [5, 5]])).tolist() == [0, 5, 4, 3, 2]
    for wrong in (3, [], {"x": 1}, [1, 2]):
        with pytest.raises(CheckpointError, match="text_dictionary"):
            vocabulary_of(wrong, tmp_path)


def test_files_that_do_not_fit_are_one_sentence(tmp_path):
    _, vq = checkpoint("kmeans", tmp_path)
    _, plain = checkpoint("wav2vec", tmp_path)
    content = {"model_cfg": {"encoder_attention_heads": HEADS}, "model_weight": Plain().fairseq_weights(True), "text_dictionary": "0-1 1"}
    weights = {key: value for key, value in content["model_weight"].items() if "layers.1.fc1.bias" not in key}
    cases = [
        ({}, plain["ckpt"], "without a codebook"),
        ({"text_dictionary": None}, vq["ckpt"], "no 'text_dictionary'"),
        ({"text_dictionary": [str(i) for i in range(999)]}, vq["ckpt"], "1003 words, the model 104"),
        ({"model_weight": {"x": torch.ones(1)}}, vq["ckpt"], "holds no RoBERTa"),
        ({"model_weight": weights}, vq["ckpt"], r"it lacks encoder\.layer\.1\.intermediate\.dense\.bias"),
        ({"model_cfg": {"encoder_attention_heads": 3}}, vq["ckpt"], "3 attention heads"),
    ]
    for change, frontend, sentence in cases:
        torch.save({**content, **change}, tmp_path / "bert.pt")
        with pytest.raises(CheckpointError, match=sentence):
            build("discretebert", ckpt=str(tmp_path / "bert.pt"), frontend=frontend)
