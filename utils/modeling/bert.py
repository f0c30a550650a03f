"""A BERT's configuration and weights in DistilBERT's layout, which computes the same."""

import torch
from transformers import DistilBertConfig

from utils import InputError


def distilbert_config(bert) -> DistilBertConfig:
    """The DistilBERT configuration of the same shape as a BERT one.

    Raises InputError where DistilBERT cannot compute the same.
    """
    if bert.layer_norm_eps != 1e-12:  # fixed in DistilBERT
        raise InputError(f"This BERT has layer_norm_eps={bert.layer_norm_eps}, not 1e-12.")
    if bert.is_decoder:  # of which each word sees only those before it
        raise InputError("This BERT is a decoder (is_decoder): an encoder is needed.")
    return DistilBertConfig(
        vocab_size=bert.vocab_size,
        max_position_embeddings=bert.max_position_embeddings,
        dim=bert.hidden_size,
        hidden_dim=bert.intermediate_size,
        n_layers=bert.num_hidden_layers,
        n_heads=bert.num_attention_heads,
        activation=bert.hidden_act,
        dropout=bert.hidden_dropout_prob,
        attention_dropout=bert.attention_probs_dropout_prob,
        initializer_range=bert.initializer_range,
        pad_token_id=bert.pad_token_id,
    )


def bert_to_distilbert(weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The weights of a BertModel under DistilBertModel's names, computing the same exactly.

    DistilBERT has no pooler, which is dropped, and no token types: one text alone always has
    type 0, so that row is added to every position embedding. Raises InputError for weights that
    are not a BERT's.
    """
    # Older checkpoints, bert-base-uncased's among them, call a norm's weight and bias otherwise.
    older = {"gamma": "weight", "beta": "bias"}
    parts = {key: key.removeprefix("bert.").rpartition(".") for key in weights}
    weights = {
        f"{module}{dot}{older.get(kind, kind)}": weights[key]
        for key, (module, dot, kind) in parts.items()
    }
    names = {
        "attention.self.query": "attention.q_lin",
        "attention.self.key": "attention.k_lin",
        "attention.self.value": "attention.v_lin",
        "attention.output.dense": "attention.out_lin",
        "attention.output.LayerNorm": "sa_layer_norm",
        "intermediate.dense": "ffn.lin1",
        "output.dense": "ffn.lin2",
        "output.LayerNorm": "output_layer_norm",
    }
    try:
        token_type = weights.pop("embeddings.token_type_embeddings.weight")[0]
        weights["embeddings.position_embeddings.weight"] = (
            weights["embeddings.position_embeddings.weight"] + token_type
        )
        converted = {}
        for key, value in weights.items():
            if key.startswith("encoder.layer."):
                _, _, layer, rest = key.split(".", 3)
                module, kind = rest.rsplit(".", 1)
                converted[f"transformer.layer.{layer}.{names[module]}.{kind}"] = value
            elif key.startswith("embeddings.") and not key.endswith("position_ids"):
                converted[key] = value
    except KeyError as error:
        raise InputError(f"These are not the weights of a BERT model: {error}.") from error
    return converted
