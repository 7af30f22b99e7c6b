"""The command `python -m dimp_jax.evaluation.submission`, which is `exchange/submission.py`."""

from dimp_jax.evaluation.exchange.submission import main

if __name__ == "__main__":
    raise SystemExit(main())
