"""Machinery of studies: units of work, fitting, rows. It knows no study."""
