"""Exact gradients of synapses with decays of their own, in memory that does not grow with T.

Autograd would keep every current of every step, [T, N, O, I]. The gradient takes two sweeps
instead, each with a buffer or three of [N, O, I]: errors backwards in time, then traces forwards.
"""
