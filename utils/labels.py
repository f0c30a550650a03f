"""The two classes, and the words by which files call them."""

LABELS = {0: "NEGATIVE", 1: "POSITIVE"}
LABEL_OF = {"negative": 0, "neg": 0, "false": 0, "label_0": 0, "0": 0,
            "positive": 1, "pos": 1, "true": 1, "label_1": 1, "1": 1}  # fmt: skip
