"""
What holds for all tests.
"""

from hypothesis import settings

# No test judges how long something takes: a busy machine makes nothing wrong.
settings.register_profile("harness", deadline=None)
settings.load_profile("harness")
