"""Jobs on Ray. Nothing outside this package imports Ray; nothing in it is imported before workers are asked for.

What is long or could go wrong without Ray is beside it: which job runs when and how often (`pool`), what a worker does
(`worker`), how checkpoints travel (`checkpoints`).
"""
