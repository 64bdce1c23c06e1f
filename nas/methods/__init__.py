"""Search methods: how architectures are scored. One folder or file each; `protocol` has their interface."""
