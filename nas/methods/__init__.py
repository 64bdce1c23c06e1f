"""Search methods: how architectures get scores. One folder or file each; `protocol` says what one is."""
