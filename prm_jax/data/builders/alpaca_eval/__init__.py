"""AlpacaEval: many policies answer the same prompts."""
