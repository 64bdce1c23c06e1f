"""Search methods, one folder or file each: how architectures are scored. `protocol` is the interface."""
