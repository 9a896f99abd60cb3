"""One native slider of a page: its name, the range input, and what it shows."""

import re
from html import escape


def subscripts(name: str) -> str:
    """HTML of a name in which ``V_G`` carries its subscript."""
    return re.sub(r"_(\w+)", r"<sub>\1</sub>", escape(name))


def slider(name: str, least: int, most: int, value: int, shown: str, script: str, data: str = "") -> str:
    """Return the HTML of a slider.

    Parameters
    ----------
    name : str
        ``V_G`` is shown with a subscript.
    least, most, value : int
    shown : str
        What stands beside the slider at first, unit included.
    script : str
        What happens when it moves; `this` is the input, and what follows it shows the value.
    data : str
        Further attributes.
    """
    # autocomplete=off: a reloaded page starts at its first picture, slider and picture alike
    # data-lm-suppress-shortcuts: JupyterLab would take the arrow keys for itself
    return (
        '<label style="display:flex;flex-wrap:wrap;gap:.1em .6em;align-items:center;justify-content:center">'
        f'<span style="white-space:nowrap">{subscripts(name)} =</span>'
        f'<input type="range" min="{least}" max="{most}" step="1" value="{value}" autocomplete="off" '
        f'data-lm-suppress-shortcuts="true" style="flex:1 1 6em;max-width:18em" aria-label="{escape(name)}" '
        f'aria-valuetext="{escape(shown)}" {data} oninput="{script}">'
        f'<output style="min-width:4.5em;text-align:left;white-space:nowrap">{escape(shown)}</output></label>'
    )


def figure(inside: str, caption: str, attributes: str = "") -> str:
    """Return the HTML of a figure with its caption below."""
    words = f"<figcaption>{escape(caption)}</figcaption>" if caption else ""
    style = "text-align:center;margin:1em 0"
    return f'<figure class="mlnegf-frames" style="{style}" {attributes}>{inside}{words}</figure>'
