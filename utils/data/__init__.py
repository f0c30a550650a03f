"""Reviews: where they come from, which are drawn, and how they are split."""
