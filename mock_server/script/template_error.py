"""
What is said of a template that does not work.
"""


class TemplateError(Exception):
    """
    A template that cannot be read, or that failed on a request.
    """
