"""Task-adaptive pretraining (TAPT): masked language modelling on the task's own reviews."""

import json
from pathlib import Path

import pandas as pd
from datasets import Dataset
from torch.nn.functional import cross_entropy
from transformers import (
    DataCollatorForLanguageModeling,
    DistilBertForMaskedLM,
    set_seed,
)
from transformers.modeling_outputs import MaskedLMOutput
from transformers.trainer_callback import PrinterCallback

from utils import InputError
from utils.data.unlabelled import hash_of
from utils.files import claim
from utils.hardware import device, keep_freed_memory, versions
from utils.modeling.attention import attention
from utils.modeling.backbones import Backbone, load_encoder
from utils.text import tokenize
from utils.training.fine_tune import RESULT, checkpoint_to_resume, keep_model, remove_checkpoints
from utils.training.fingerprint import fingerprint_of
from utils.training.progress import TextProgress, minutes_spent
from utils.training.trainer import FineTuner, training_arguments

MLM_MAX_TOKENS = 256
EPOCHS = 2
LEARNING_RATE = 2e-4
MASKED = 0.15  # share of the tokens, as BERT's
WATCHED = 500  # reviews on which the loss is watched


class MaskedLanguageModel(DistilBertForMaskedLM):
    """The stock class, which computes its logits where a token is masked, and nowhere else.

    The vocabulary's matrix, tied to the embeddings, costs as much as all the layers together.
    """

    accepts_loss_kwargs = False

    def forward(self, input_ids, attention_mask=None, labels=None, **kwargs) -> MaskedLMOutput:
        """The mean cross-entropy over the masked tokens, those whose label is not -100."""
        masked = labels != -100
        hidden = self.distilbert(input_ids, attention_mask).last_hidden_state[masked]
        hidden = self.vocab_layer_norm(self.activation(self.vocab_transform(hidden)))
        return MaskedLMOutput(loss=cross_entropy(self.vocab_projector(hidden), labels[masked]))


def pretraining_fingerprint(backbone: Backbone, texts_sha256: str, seed: int) -> str:
    """A hash of all that decides the weights."""
    settings = {"epochs": EPOCHS, "learning_rate": LEARNING_RATE, "masked": MASKED,
                "max_tokens": MLM_MAX_TOKENS, "seed": seed}  # fmt: skip
    return fingerprint_of(backbone, texts_sha256, settings)


def pretrain(folder: Path, backbone: Backbone, texts: pd.DataFrame, seed: int) -> dict:
    """Pretrain the backbone on `texts` (`text`, `hash`) and save it below `folder`.

    Task-adaptive pretraining (Gururangan et al., "Don't Stop Pretraining", 2020). Each fingerprint
    has a folder of its own there: resumes from its last checkpoint, from where other tokens are
    masked than without the interruption; what is finished is not repeated. Returns what is saved
    beside the weights. Raises InputError where the backbone is of another layout, another start
    is still at it, or its last checkpoint is damaged.
    """
    folder = folder / pretraining_fingerprint(backbone, hash_of(texts), seed)
    with claim(folder, f"the pretraining {folder.name}"):
        return _pretrain(folder, backbone, texts, seed)


def _pretrain(folder: Path, backbone: Backbone, texts: pd.DataFrame, seed: int) -> dict:
    if (folder / "model").exists():
        return json.loads((folder / "model" / RESULT).read_text(encoding="utf-8"))
    if backbone.config.model_type != "distilbert":
        raise InputError(f"{backbone.title} is not in DistilBERT's layout: it cannot be "
                         "pretrained here.")  # fmt: skip
    keep_freed_memory()
    set_seed(seed)
    config = backbone.config.__class__.from_dict(backbone.config.to_dict())
    if device().type == "cpu":
        config.attention_dropout = 0.0
    model = MaskedLanguageModel(config)
    load_encoder(model.distilbert, backbone)
    model.tie_weights()
    model.set_attn_implementation(attention()[0])
    shuffled = texts.sample(frac=1, random_state=seed)
    ids = tokenize(backbone.tokenizer, shuffled["text"].tolist(), MLM_MAX_TOKENS).ids
    held_out = min(WATCHED, len(texts) // 10)
    data = Dataset.from_dict({"input_ids": ids, "length": [len(row) for row in ids]})
    trainer = FineTuner(
        model=model,
        args=training_arguments(
            output_dir=str(folder),
            seed=seed,
            num_train_epochs=EPOCHS,
            per_device_train_batch_size=32,
            per_device_eval_batch_size=32,
            learning_rate=LEARNING_RATE,
            warmup_steps=0.05,
            weight_decay=0.01,
            eval_strategy="steps",
            eval_steps=500,
            save_steps=250,
            logging_steps=50,
        ),
        train_dataset=data.select(range(held_out, len(data))),
        eval_dataset=data.select(range(held_out)),
        data_collator=DataCollatorForLanguageModeling(backbone.tokenizer, mlm_probability=MASKED),
        callbacks=[TextProgress()],
    )
    trainer.remove_callback(PrinterCallback)
    checkpoint = checkpoint_to_resume(trainer)
    trainer.train(resume_from_checkpoint=checkpoint)
    minutes = minutes_spent(trainer)
    logs = trainer.state.log_history
    result = {
        "backbone": f"{backbone.title}, with task-adaptive pretraining",
        "fingerprint": folder.name,
        "texts_sha256": hash_of(texts),
        "reviews": len(texts),
        "tokens_per_epoch": sum(map(len, ids)),
        "epochs": EPOCHS,
        "learning_rate": LEARNING_RATE,
        "seed": seed,
        "minutes": minutes,
        "resumed": checkpoint is not None,
        "held_out_loss": [
            {"epoch": round(log["epoch"], 3), "loss": log["eval_loss"]}
            for log in logs if "eval_loss" in log
        ],
        "versions": versions(),
    }  # fmt: skip

    keep_model(trainer, backbone, result)
    remove_checkpoints(folder)
    return result
