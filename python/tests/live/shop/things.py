"""A module that only a relative import finds."""


class Thing:
    def __init__(self, name):
        self.name = name


class NoSuchThing(Exception):
    pass
