"""Features beside what is known of listener, data set and text, through a recurrent net to a score per frame: AlignNet and UTMOS."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor, nn

from downstream.blocks.padded_recurrent import over_lengths
from utility.errors import ConfigError, DataError
from utility.training.fields import Count

from .parts import Answer, Conditions, FrameScores, Projection, beside, last_index, over_frames


class Conditioned(nn.Module):
    """Appends vectors to the features and decodes; a subclass says which vectors.

    Args:
        input_dim: D, width of the features.
        extra_dim: width of what a subclass appends besides the listener.
        num_listeners: listeners, the mean listener last; None without listeners.
        listener_emb_dim: width of their embeddings.
        use_decoder_rnn: a bidirectional LSTM of ``decoder_rnn_dim`` each way before the projection.
        decoder_dnn_dim, decoder_activation: of the projection.
        range_clipping: keep scores within 1 to 5 (in the public code the setting has no effect on these models).
        uncertain: predict a log variance too.
    """

    def __init__(
        self,
        input_dim: int,
        extra_dim: int,
        num_listeners: int | None,
        listener_emb_dim: Count | None,
        use_decoder_rnn: bool,
        decoder_rnn_dim: Count,
        decoder_dnn_dim: Count,
        decoder_activation: str,
        range_clipping: bool,
        uncertain: bool = False,
    ):
        super().__init__()
        width = input_dim + extra_dim
        if num_listeners is not None:
            self.listener_embeddings = nn.Embedding(num_listeners, listener_emb_dim)
            width += listener_emb_dim
        self.models_listeners = num_listeners is not None
        if use_decoder_rnn:
            self.decoder_rnn = nn.LSTM(width, decoder_rnn_dim, batch_first=True, bidirectional=True)
            width = 2 * decoder_rnn_dim
        self.decoder_dnn = Projection(width, decoder_dnn_dim, decoder_activation, range_clipping=range_clipping, uncertain=uncertain)

    def listener_vector(self, features: Tensor, conditions: Conditions) -> list[Tensor]:
        """[(B, E)] of the listeners, [] without."""
        return [self.listener_embeddings(conditions.listeners)] if self.models_listeners else []

    def appended(self, features: Tensor, conditions: Conditions) -> list[Tensor]:
        """(B, E) vectors in the order in which they follow the features."""
        return self.listener_vector(features, conditions)

    def forward(self, features: Tensor, conditions: Conditions, lengths: Tensor | None = None) -> FrameScores:
        """(B, T, D) -> scores of each frame by the given listeners or, without listeners, on average.

        With ``lengths`` (B,) no frame depends on the padding behind an item.
        """
        x = beside(features, *self.appended(features, conditions))
        if hasattr(self, "decoder_rnn"):
            x = self.decoder_rnn(x)[0] if lengths is None else over_lengths(self.decoder_rnn, x, lengths)
        score, log_variance = self.decoder_dnn(x)
        return FrameScores(None, score) if self.models_listeners else FrameScores(score, None, log_variance)

    def answer(self, features: Tensor, conditions: Conditions, lengths: Tensor | None = None) -> Answer:
        """(B, T, D) -> utterance scores by the mean listener."""
        if self.models_listeners:
            conditions = replace(conditions, listeners=last_index(self.listener_embeddings, len(features), features.device))
        frames = self(features, conditions, lengths)
        variance = None if frames.log_variance is None else over_frames(frames.log_variance, lengths)
        return Answer(over_frames(frames.listener if self.models_listeners else frames.mean, lengths), variance)


class AlignNet(Conditioned):
    """Frame regression that knows the data set an utterance comes from (SHEET's model after Pieper and Voran, Interspeech 2024).

    Args: see :class:`Conditioned`, and:
        use_listener_modeling: score by listener; needs ``num_listeners`` and ``listener_emb_dim``.
        use_domain_modeling: take the data set; needs ``num_domains`` and ``domain_emb_dim``.
    """

    def __init__(
        self,
        input_dim: int,
        num_listeners: int | None = None,
        num_domains: int | None = None,
        use_listener_modeling: bool = False,
        listener_emb_dim: Count | None = None,
        use_domain_modeling: bool = False,
        domain_emb_dim: Count | None = None,
        use_decoder_rnn: bool = True,
        decoder_rnn_dim: Count = 512,
        decoder_dnn_dim: Count = 2048,
        decoder_activation: str = "ReLU",
        range_clipping: bool = True,
        uncertain: bool = False,
    ):
        _need("use_listener_modeling", use_listener_modeling, num_listeners=num_listeners, listener_emb_dim=listener_emb_dim)
        _need("use_domain_modeling", use_domain_modeling, num_domains=num_domains, domain_emb_dim=domain_emb_dim)
        extra, listeners = (domain_emb_dim if use_domain_modeling else 0), (num_listeners if use_listener_modeling else None)
        decoder = (use_decoder_rnn, decoder_rnn_dim, decoder_dnn_dim, decoder_activation, range_clipping, uncertain)
        super().__init__(input_dim, extra, listeners, listener_emb_dim, *decoder)
        self.models_domains = use_domain_modeling
        if use_domain_modeling:
            self.domain_embeddings = nn.Embedding(num_domains, domain_emb_dim)

    def appended(self, features: Tensor, conditions: Conditions) -> list[Tensor]:
        vectors = self.listener_vector(features, conditions)
        if not self.models_domains:
            return vectors
        if conditions.domains is None:
            raise DataError(
                "this predictor is told the data set of an utterance, and here is none: domain_idx of the table, or of "
                "config.downstream_expert.inference (--domain_idx of a recipe), or np_inference_mode domain_id_knn_1, which finds one"
            )
        return [*vectors, self.domain_embeddings(conditions.domains)]


class UTMOS(Conditioned):
    """The strong learner of UTMOS (Saeki et al., Interspeech 2022): features, text and listener.

    Args: see :class:`Conditioned`, and:
        use_phoneme: take the phonemes of an utterance; ``phoneme_encoder_*`` are the sizes of their encoder.
        use_reference: and those of its reference text.
        use_listener_modeling: score by listener.
    """

    def __init__(
        self,
        input_dim: int,
        num_listeners: int | None = None,
        use_phoneme: bool = True,
        phoneme_encoder_dim: Count = 256,
        phoneme_encoder_emb_dim: Count = 256,
        phoneme_encoder_out_dim: Count = 256,
        phoneme_encoder_n_lstm_layers: Count = 3,
        phoneme_encoder_vocab_size: Count = 300,
        use_reference: bool = True,
        use_listener_modeling: bool = False,
        listener_emb_dim: Count | None = None,
        use_decoder_rnn: bool = True,
        decoder_rnn_dim: Count = 512,
        decoder_dnn_dim: Count = 2048,
        decoder_activation: str = "ReLU",
        range_clipping: bool = True,
    ):
        _need("use_listener_modeling", use_listener_modeling, num_listeners=num_listeners, listener_emb_dim=listener_emb_dim)
        extra, listeners = (phoneme_encoder_out_dim if use_phoneme else 0), (num_listeners if use_listener_modeling else None)
        decoder = (use_decoder_rnn, decoder_rnn_dim, decoder_dnn_dim, decoder_activation, range_clipping)
        super().__init__(input_dim, extra, listeners, listener_emb_dim, *decoder)
        self.reads, self.compares = use_phoneme, use_phoneme and use_reference
        if use_phoneme:
            self.phoneme_embedding = nn.Embedding(phoneme_encoder_vocab_size, phoneme_encoder_emb_dim)
            recurrent = {"num_layers": phoneme_encoder_n_lstm_layers, "dropout": 0.1, "bidirectional": True, "batch_first": True}
            self.phoneme_encoder_lstm = nn.LSTM(phoneme_encoder_emb_dim, phoneme_encoder_dim, **recurrent)
            width = phoneme_encoder_dim * (1 + self.compares)
            self.phoneme_encoder_linear = nn.Sequential(nn.Linear(width, phoneme_encoder_out_dim), nn.ReLU())

    def appended(self, features: Tensor, conditions: Conditions) -> list[Tensor]:
        listener = self.listener_vector(features, conditions)
        if not self.reads:
            return listener
        texts = [conditions.phonemes, conditions.references] if self.compares else [conditions.phonemes]
        if None in texts:
            raise DataError("this predictor needs the phonemes of each utterance and of its reference (columns phoneme and reference)")
        return [self.phoneme_encoder_linear(torch.cat([self._encoded(*text) for text in texts], -1)), *listener]

    def _encoded(self, symbols: Tensor, counts: Tensor) -> Tensor:
        """(B, L) symbols -> (B, E): the last layer's backward end and the first layer's forward end together."""
        packed = nn.utils.rnn.pack_padded_sequence(self.phoneme_embedding(symbols), counts.cpu(), batch_first=True, enforce_sorted=False)
        _, (hidden, _) = self.phoneme_encoder_lstm(packed)
        return hidden[-1] + hidden[0]


def _need(flag: str, wanted: bool, **fields: int | None) -> None:
    if wanted and (missing := [name for name, value in fields.items() if value is None]):
        raise ConfigError(f"{flag} needs {' and '.join(missing)}", "model_params")
