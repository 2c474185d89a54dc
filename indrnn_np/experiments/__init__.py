"""The papers' experiments: tasks, and the loop that trains a network on one.

`tasks`          what is learned: adding problem, digits and MNIST pixel by pixel, Penn Treebank, NTU RGB+D
`configuration`  all that decides how a run ends, as plain data; `presets` makes those of the papers, and the fast ones
`training`       the loop: `train` leaves a folder with `metrics` and `checkpoints`, and goes on where it was killed
`sweeps`         many runs, on the cores of this machine (`worker`) or on a cluster
`neurons`        what the neurons of a trained network do; `plots` has the pictures
`command`        `indrnn-np train` and `indrnn-np sweep`

Here only the tasks are imported: a command that trains nothing need not wait for networks.
"""

from . import tasks

__all__ = ["tasks"]
