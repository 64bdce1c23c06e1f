"""Builds `../plot.min.js` and `../plot.licenses.txt` from the packages of `package-lock.json`; needs npm.

    python nas/report/assets/bundle/build.py

The lock names every version and digest, so that the result is the same bytes each time; they are printed.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).parent


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for file in ("package.json", "package-lock.json", "entry.js"):
            shutil.copy(HERE / file, folder)
        subprocess.run(["npm", "ci", "--no-audit", "--no-fund"], cwd=folder, check=True)
        flags = ["--bundle", "--minify", "--format=iife", "--global-name=Plot", "--legal-comments=none"]
        esbuild = ["npx", "esbuild", "entry.js", *flags, "--outfile=plot.min.js", "--metafile=meta.json"]
        subprocess.run(esbuild, cwd=folder, check=True)
        bundle = (folder / "plot.min.js").read_bytes()
        (HERE.parent / "plot.min.js").write_bytes(bundle)
        (HERE.parent / "plot.licenses.txt").write_text(licenses(folder), encoding="utf-8")
    sys.stdout.write(f"plot.min.js  {len(bundle):,} bytes  sha256 {hashlib.sha256(bundle).hexdigest()}\n")


def licenses(folder: Path) -> str:
    """Returns the license texts of all packages of which something is in the bundle."""
    meta = json.loads((folder / "meta.json").read_text())
    [output] = meta["outputs"].values()
    inside = {path for path, part in output["inputs"].items() if part["bytesInOutput"] and "node_modules/" in path}
    parts = []
    for package in sorted({_package(path) for path in inside}):
        root = folder / "node_modules" / package
        version = json.loads((root / "package.json").read_text())["version"]
        [text, *_] = [path.read_text() for path in sorted(root.iterdir()) if path.name.upper().startswith("LICEN")]
        parts.append(f"{package} {version}\n\n{text.strip()}\n")
    return f"\n{'-' * 80}\n\n".join(parts)


def _package(path: str) -> str:
    words = path.rpartition("node_modules/")[2].split("/")
    return "/".join(words[:2] if words[0].startswith("@") else words[:1])


if __name__ == "__main__":
    main()
