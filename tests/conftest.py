"""Hypothesis on a busy machine: an example may take its time."""

from hypothesis import settings

settings.register_profile("cortensim", deadline=None)
settings.load_profile("cortensim")
