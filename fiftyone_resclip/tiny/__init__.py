"""The bundled tiny CLIP: its weights, its model card, and the scenes it was trained on.

It lets the demo and the tests run offline. It knows only pieces of cloth and can't handle photographs; see ``CARD.md``. The code
that trained and measured it is in ``benchmarks/`` at the root of the repository.
"""
