"""The bundled tiny CLIP: weights, card, and the scenes it was trained on.

It exists so that everything runs offline. It knows pieces of cloth and nothing of photographs; see ``CARD.md``. How it was
trained and measured is in ``benchmarks/`` at the root of the repository.
"""
