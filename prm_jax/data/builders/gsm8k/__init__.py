"""GSM8K: word problems with worked solutions."""
