"""Search methods: how architectures are scored. One folder or file each, with `protocol` as interface."""
