"""The formats that `nas export` can write, by name; each is a file of a winner's folder."""

EXPORT_FORMATS = ("config", "code", "weights", "onnx")
