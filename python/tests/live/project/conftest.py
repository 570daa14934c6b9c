class FromConftest:
    pass
