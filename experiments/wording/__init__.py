"""Whether a decoder's frozen reading carries taste to new words."""
