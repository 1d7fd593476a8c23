"""
The parts of the outside world, one per file.
"""
