"""One app over a package: the endpoints stand in one module, their functions in others. Served by `flash run examples/store`."""
