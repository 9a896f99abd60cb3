"""Networks, one file each: a class that names itself is known everywhere by that name.

Names: `NETWORKS`, `Network`, `save`, `load`, and the networks themselves. A new one is a new file here, imported below.
May import `learning`.
"""

from mlnegf.learning.networks.network import NETWORKS, Network, load, save
from mlnegf.learning.networks.slice_autoencoder import PlainAutoencoder, SliceAutoencoder

__all__ = ["NETWORKS", "Network", "PlainAutoencoder", "SliceAutoencoder", "load", "save"]
