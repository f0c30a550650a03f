"""DistilBERT with a head of our own."""

from typing import ClassVar

import torch
from torch import nn
from transformers import (
    DistilBertConfig,
    DistilBertForSequenceClassification,
    DistilBertModel,
    DistilBertPreTrainedModel,
)
from transformers.modeling_outputs import SequenceClassifierOutput
from transformers.utils import can_return_tuple

from utils import InputError


class CustomHeadDistilBert(DistilBertPreTrainedModel):
    """DistilBERT, dropout, and one linear layer on the [CLS] state.

    There is no `_init_weights` here: the parent's initialises only what a checkpoint lacks, and
    one of our own would write over loaded weights.
    """

    # The masked-language head of a DistilBERT checkpoint is not needed, and no cause for worry.
    _keys_to_ignore_on_load_unexpected: ClassVar = [r"^vocab_(transform|layer_norm|projector)\."]

    # The loss is a plain mean: Trainer must not rescale it, nor pass a number of items on.
    accepts_loss_kwargs = False

    def __init__(self, config: DistilBertConfig):
        super().__init__(config)
        self.distilbert = DistilBertModel(config)
        self.dropout = nn.Dropout(config.seq_classif_dropout)
        self.head = nn.Linear(config.dim, config.num_labels)
        self.post_init()

    @can_return_tuple
    def forward(
        self,
        input_ids: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        inputs_embeds: torch.Tensor | None = None,
        labels: torch.Tensor | None = None,
        **kwargs,
    ) -> SequenceClassifierOutput:
        """Logits of shape (batch, classes) and, where labels (batch,) are given, cross-entropy.

        Labels may be a teacher's probabilities, (batch, classes), too (Hinton et al., 2015).
        `input_ids` and `attention_mask` are (batch, tokens). With `output_hidden_states=True` or,
        under eager attention, `output_attentions=True` the backbone's come through.
        """
        outputs = self.distilbert(
            input_ids=input_ids,
            attention_mask=attention_mask,
            inputs_embeds=inputs_embeds,
            return_dict=True,
            **kwargs,
        )
        cls = outputs.last_hidden_state[:, 0]  # (batch, dim)
        logits = self.head(self.dropout(cls))  # (batch, classes)
        loss = None if labels is None else nn.functional.cross_entropy(logits, labels)
        return SequenceClassifierOutput(
            loss=loss,
            logits=logits,
            hidden_states=outputs.hidden_states,
            attentions=outputs.attentions,
        )


def fold_head(
    model: CustomHeadDistilBert, temperature: float = 1.0
) -> DistilBertForSequenceClassification:
    """The same model as the stock class, which loads where this repository is not installed.

    The stock head is linear, ReLU, linear. With our head's W (classes, dim) and b, the first
    layer computes z = Wx + b and -z, and the second relu(z) - relu(-z) = z, so the logits are the
    same, exactly. They are divided by `temperature` (Guo et al., 2017), through W and b. Raises
    InputError where the model is another one.
    """
    if not isinstance(model, CustomHeadDistilBert):
        raise InputError(f"This is a {type(model).__name__}, and no custom-head DistilBERT, which "
                         "alone is exported.")  # fmt: skip
    config = DistilBertConfig.from_dict(model.config.to_dict())
    stock = DistilBertForSequenceClassification(config).to(model.device, model.dtype).eval()
    stock.distilbert.load_state_dict(model.distilbert.state_dict())
    weight, bias = model.head.weight / temperature, model.head.bias / temperature
    classes = len(bias)
    with torch.no_grad():
        for parameter in (*stock.pre_classifier.parameters(), *stock.classifier.parameters()):
            parameter.zero_()
        stock.pre_classifier.weight[: 2 * classes] = torch.cat([weight, -weight])
        stock.pre_classifier.bias[: 2 * classes] = torch.cat([bias, -bias])
        stock.classifier.weight[:, : 2 * classes] = _plus_minus(stock)
    return stock


def unfold_head(stock: DistilBertForSequenceClassification) -> CustomHeadDistilBert:
    """Our class again, from a model whose head was folded.

    Raises InputError where the head is any other one: ours could not compute the same.
    """
    first, last = stock.pre_classifier, stock.classifier
    classes = last.out_features
    weight, bias = first.weight[:classes], first.bias[:classes]
    folded = (
        torch.equal(last.weight[:, : 2 * classes], _plus_minus(stock))
        and torch.equal(first.weight[classes : 2 * classes], -weight)
        and torch.equal(first.bias[classes : 2 * classes], -bias)
        and not any(
            rest.any()
            for rest in (
                last.weight[:, 2 * classes :],
                last.bias,
                first.weight[2 * classes :],
                first.bias[2 * classes :],
            )
        )
    )
    if not folded:
        raise InputError(
            "This model's head is not a folded linear layer, so it is not of the custom-head "
            "class: load it with AutoModelForSequenceClassification."
        )
    model = CustomHeadDistilBert(DistilBertConfig.from_dict(stock.config.to_dict()))
    model.distilbert.load_state_dict(stock.distilbert.state_dict())
    model.head.load_state_dict({"weight": weight, "bias": bias})
    return model.to(stock.device, stock.dtype).eval()


def _plus_minus(stock: DistilBertForSequenceClassification) -> torch.Tensor:
    """[I, -I], shape (classes, 2 classes)."""
    identity = torch.eye(stock.classifier.out_features).to(stock.classifier.weight)
    return torch.cat([identity, -identity], dim=1)
