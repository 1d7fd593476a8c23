"""
Runs scenarios against a service and brings home a verdict.
"""
