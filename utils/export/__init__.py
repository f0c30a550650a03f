"""The exported model: its folder, its card, and how near its copies come to it."""
