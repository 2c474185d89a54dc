"""Stands in for CuPy where this folder comes before it on the path: so a whole program can be rehearsed without a GPU.

    PYTHONPATH=tests/stand_in:tests indrnn-np bench --device gpu --shape 70,2,24
"""

import sys

import pretended_gpu

module = pretended_gpu.module()
module.__spec__ = __spec__
sys.modules[__name__] = module
