"""
Durable state: what was acknowledged survives.
"""
