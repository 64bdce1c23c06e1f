"""Makes a page of each notebook in docs/notebooks: a hook of mkdocs, so that they look like the site's other pages.

    jupyter execute --inplace docs/notebooks/*.ipynb     # runs them again; a slow test runs copies of them

Code is shown with what it printed and drew; of a table the text, not the HTML.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files
    from mkdocs.structure.pages import Page


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Adds the pages; mkdocs calls this. The notebooks themselves stay, to be downloaded."""
    from mkdocs.structure.files import File

    for file in list(files):
        if file.src_uri.endswith(".ipynb"):
            page = as_markdown(json.loads(file.content_string), Path(file.src_uri).name)
            files.append(File.generated(config, file.src_uri.removesuffix(".ipynb") + ".md", content=page))
    return files


def on_page_markdown(markdown: str, page: Page, **_: Any) -> str:
    """Makes links to notebooks lead to their pages; mkdocs calls this for every page."""
    own = page.file.src_uri.startswith("notebooks/")  # these have a link to the file itself
    return markdown if own else markdown.replace(".ipynb)", ".md)")


def as_markdown(notebook: dict[str, Any], name: str) -> str:
    """Returns a notebook as the text of a page, with a link to the file of that name below its title."""
    first, *cells = notebook["cells"]
    title, _, text = _text(first["source"]).partition("\n")
    parts = [title, f"[Download it as a notebook]({name})", text.strip()]
    for cell in cells:
        if cell["cell_type"] == "markdown":
            parts.append(_text(cell["source"]).replace(".ipynb)", ".md)"))  # links to other notebooks
            continue
        parts.append(f"```python\n{_text(cell['source'])}\n```")
        parts += [shown for output in cell["outputs"] if (shown := _output(output))]
    return "\n\n".join(parts) + "\n"


def _output(output: dict[str, Any]) -> str:
    if output["output_type"] == "stream":
        return f"```text\n{_text(output['text']).rstrip()}\n```"
    data = output["data"]
    if "image/png" in data:
        alternative = _text(data.get("text/plain", "a picture")).strip("<>")
        return f"![{alternative}](data:image/png;base64,{_text(data['image/png']).strip()})"
    return f"```text\n{_text(data['text/plain']).rstrip()}\n```"


def _text(source: str | list[str]) -> str:
    return source if isinstance(source, str) else "".join(source)
