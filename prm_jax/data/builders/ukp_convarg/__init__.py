"""UKPConvArg1: which argument is more convincing."""
