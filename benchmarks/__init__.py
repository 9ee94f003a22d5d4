"""Side-by-side figures: each module is a program (`python -m benchmarks.NAME`)."""
