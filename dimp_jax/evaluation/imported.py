"""The command `python -m dimp_jax.evaluation.imported`, which is `exchange/imported.py`."""

from dimp_jax.evaluation.exchange.imported import main

if __name__ == "__main__":
    raise SystemExit(main())
