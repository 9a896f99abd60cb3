"""What a page shows beside figures: tables, figures behind sliders, a device that turns. All of it plain HTML.

Names: `Table`, `facts`; `Explorer`, `FrameGrid`, `FrameSlider`; `Turntable`. No ids and no scripts from elsewhere: any
number of copies share a page, without kernel or network.
Imports nothing of ours.
"""

from mlnegf.widgets.frames import Explorer, FrameGrid, FrameSlider
from mlnegf.widgets.tables import Table, facts
from mlnegf.widgets.turntable import Turntable

__all__ = ["Explorer", "FrameGrid", "FrameSlider", "Table", "Turntable", "facts"]
