"""Everything that runs on machines. It receives learners, imports none."""
