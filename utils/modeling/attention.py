"""Attention as plain matrix products in the precision of its inputs, and where it is chosen."""

import torch
from torch import nn
from transformers import AttentionInterface
from transformers.masking_utils import AttentionMaskInterface, eager_mask

from utils.hardware import device, precision

PRODUCTS = "products"  # its name among transformers' attention implementations


def products(
    module: nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    scaling: float | None = None,
    dropout: float = 0.0,
    **kwargs,
) -> tuple[torch.Tensor, torch.Tensor]:
    """softmax(QK'/sqrt(d) + mask) V of (batch, heads, tokens, dim): (batch, tokens, heads, dim).

    transformers' eager attention adds an fp32 mask to bf16 scores under autocast, so that scores
    and weights, (tokens, tokens) for each head, become fp32: twice the memory, and conversions
    that take longer than the products. Here they stay in bf16, the mask is added by the product
    itself, and only softmax computes in fp32, inside. The mask must be of padding alone, equal for
    all queries. Returns the weights too, (batch, heads, tokens, tokens).
    """
    batch, heads, tokens, dim = query.shape
    scaling = scaling or dim**-0.5
    query, key, value = (part.flatten(0, 1) for part in (query, key, value))
    if attention_mask is None:
        scores = torch.bmm(query * scaling, key.transpose(1, 2))
    else:
        mask = attention_mask[:, :, :1].to(query.dtype).expand(batch, heads, 1, tokens)
        scores = torch.baddbmm(mask.flatten(0, 1), query, key.transpose(1, 2), alpha=scaling)
    weights = nn.functional.dropout(scores.softmax(-1), dropout, module.training)
    mixed = torch.bmm(weights, value).unflatten(0, (batch, heads))
    return mixed.transpose(1, 2).contiguous(), weights.unflatten(0, (batch, heads))


AttentionInterface.register(PRODUCTS, products)
AttentionMaskInterface.register(PRODUCTS, eager_mask)


def attention() -> tuple[str, str]:
    """("sdpa" or "products", the reason): how attention is computed.

    The first is transformers' name of torch's fused kernel, the second that of our own.
    """
    avx512 = device().type == "cpu" and not torch.cpu._is_amx_tile_supported()
    if avx512 and precision()[0] == "bf16":
        # `make bench` measures both.
        return PRODUCTS, "matrix products in AVX512-BF16 are faster than the fused kernel"
    return "sdpa", "the kernel is a fused one"
