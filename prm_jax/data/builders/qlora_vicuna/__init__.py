"""The Vicuna questions: what several policies answered to them."""
