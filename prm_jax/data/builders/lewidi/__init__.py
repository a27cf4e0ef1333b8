"""LeWiDi: what each annotator said of the same texts."""
