"""Spike-time gradients written out from their definition, one neuron and one input at a time.

In the signs of the paper: gradients are those of times.
"""

import torch


def eps(k, tau_m, tau_s):
    th_m, th_s = 1 / tau_m, 1 / tau_s
    return th_s / (th_s - th_m) * ((1 - th_m) ** (k + 1) - (1 - th_s) ** (k + 1))


def h(k, tau_grad):
    return (1 - 1 / tau_grad) ** (k + 1)


def spikes_of(current, theta, tau_m, tau_s, tau_grad):
    """Spikes, du and q at every step of one neuron, from sums over the inputs since the reset."""
    T, start, before = len(current), 0, 0.0
    s, du, q = [0.0] * T, [0.0] * T, [0.0] * T
    for t in range(T):
        since = range(start, t + 1)
        u = sum(float(current[j]) * eps(t - j, tau_m, tau_s) for j in since)
        q[t] = sum(float(current[j]) * h(t - j, tau_grad) for j in since)
        du[t], before = u - before, u
        if u >= theta:
            s[t], start, before = 1.0, t + 1, 0.0
    return s, du, q


def layer_backward(current, spikes, du, q, G, tau_m, tau_s, tau_grad, clip=4.0, most=123456789.0):
    """Gw and Gi of one neuron, from the gradients G of its spike times."""
    T = len(current)
    Gw, Gi = torch.zeros(T, dtype=torch.float64), torch.zeros(T, dtype=torch.float64)
    for t in range(T):
        later = [j for j in range(t, T) if spikes[j]]
        if not later:
            continue
        m = later[0]
        per_weight = max(-clip, min(0.0, -1 / du[m])) if du[m] else -clip
        per_input = max(-most, min(0.0, -1 / q[m])) if q[m] else -most
        Gw[t] = G[m] * per_weight * eps(m - t, tau_m, tau_s)
        Gi[t] = G[m] * per_input * -h(m - t, tau_grad)
    return Gw, Gi
