"""A scan in JAX over a dict of parameters with Keras's names, as Flax has them.

Run it with `indrnn-np verify tests/examples/jax_scan.py:candidate`.
"""

import jax

import indrnn_np as ir


def apply(params, x, h0, σ):
    def step(h_prev, a_t):
        h = σ(a_t + params["recurrent_kernel"] * h_prev)
        return h, h

    _, states = jax.lax.scan(step, h0, x @ params["input_kernel"] + params["bias"])
    return states


def layer(x, W, u, b, h0, activation):
    return apply(ir.oracle.from_ours(W, u, b, "keras"), x, h0, getattr(jax.nn, activation))


candidate = ir.oracle.from_jax(layer)
