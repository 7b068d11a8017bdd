"""The universal potential: its training set, and everything that is to be shown of it.

Run from `experiments/`, with `MATKIT_DATA` naming the folder of the data sets; whatever was stopped
goes on when it is started again::

    python -m universal.dataset OUT                       structures, labels, real DFT frames
    matkit train --config ../configs/training/universal.yaml ...     see that file
    python -m universal.errors OUT MODEL...               held-out DFT frames and labels
    python -m universal.volumes MODEL...                  equilibrium volumes
    python -m universal.phonons MODEL...                  smallest frequencies
    python -m universal.diatomics MODEL...                repulsion at short distances
    python -m universal.stability MODEL...                hot dynamics, energy drift
"""
