"""Kernels and predictions in plain numpy, from the formulas, to compare neural-tangents with.

Covariances carry the axes (n1, n2) of two batches, or (n1, n2, position, position') for convolutions.
"""

import os
import subprocess
import sys

import numpy as np
import scipy.special


def abrelu_moments(a, b):
    """E φφ' and E φ̇φ̇' for φ(u) = a·min(u, 0) + b·max(u, 0) = u(a+b)/2 + |u|(b−a)/2."""
    even, odd = ((b - a) / 2) ** 2, ((a + b) / 2) ** 2

    def moments(k11, k22, k12):
        scale = np.sqrt(k11 * k22)
        rho = np.clip(k12 / scale, -1, 1)
        absolute = 2 / np.pi * scale * (np.sqrt(1 - rho**2) + rho * np.arcsin(rho))
        return odd * k12 + even * absolute, odd + even * 2 / np.pi * np.arcsin(rho)

    return moments


def erf_moments(k11, k22, k12):
    """E φφ' and E φ̇φ̇' for φ = erf (Williams 1997)."""
    product = (1 + 2 * k11) * (1 + 2 * k22)
    return 2 / np.pi * np.arcsin(2 * k12 / np.sqrt(product)), 4 / np.pi / np.sqrt(product - 4 * k12**2)


def smooth_moments(phi, dphi, degree=120):
    """E φφ' and E φ̇φ̇' for smooth φ, by Gauss-Hermite quadrature in two dimensions."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(degree)
    weights = np.outer(weights, weights) / (2 * np.pi)

    def moments(k11, k22, k12):
        k11, k22, k12 = (k[..., None, None] for k in np.broadcast_arrays(k11, k22, k12))
        u = np.sqrt(k11) * nodes[:, None]
        v = k12 / np.sqrt(k11) * nodes[:, None] + np.sqrt(np.maximum(k22 - k12**2 / k11, 0)) * nodes
        return tuple(np.sum(weights * f(u) * f(v), axis=(-2, -1)) for f in (phi, dphi))

    return moments


gelu_moments = smooth_moments(
    lambda u: u * scipy.special.ndtr(u),
    lambda u: scipy.special.ndtr(u) + u * np.exp(-(u**2) / 2) / np.sqrt(2 * np.pi),
)


def activation(moments, k11, k22, k12, ntk):
    """Covariances after an activation: its own moments at (k11, k11), (k22, k22), (k11, k22)."""
    value, slope = moments(k11, k22, k12)
    return moments(k11, k11, k11)[0], moments(k22, k22, k22)[0], value, slope * ntk


def fully_connected(x1, x2, moments, depth, w_std, b_std, width=None):
    """NNGP and NTK of a fully connected network; with a ``width``, of the standard parameterization at that width."""
    d = x1.shape[1]
    k11, k22, k12 = (np.sum(x1**2, 1) / d)[:, None], np.sum(x2**2, 1) / d, x1 @ x2.T / d
    ntk = np.zeros_like(k12)
    bias = b_std or 0.0
    for layer in range(depth):
        if layer:
            k11, k22, k12, ntk = activation(moments, k11, k22, k12, ntk)
        own = w_std**2 * k12 + bias**2
        if width is not None:
            own = (d if layer == 0 else width) * k12 + (b_std is not None)
        ntk = own + w_std**2 * ntk
        k11, k22, k12 = (w_std**2 * k + bias**2 for k in (k11, k22, k12))
    return k12, ntk


def convolution(x1, x2, moments, filters, w_std, b_std, pool):
    """NNGP and NTK of 1-d convolutions (VALID) with activations, then mean or flattening over positions, then Dense.

    x: (n, positions, channels); ``filters``: sizes of the filters; ``pool``: whether to average over positions.
    """

    def input_covariance(a, b):
        return np.einsum("ipc,jqc->ijpq", a, b) / a.shape[-1]

    def window_mean(k, size):
        n = k.shape[-1] - size + 1
        return sum(k[..., i : i + n, i : i + n] for i in range(size)) / size

    def diagonal(k):
        return np.diagonal(np.diagonal(k, axis1=-2, axis2=-1), axis1=0, axis2=1).T

    covariances = [input_covariance(a, b) for a, b in ((x1, x1), (x2, x2), (x1, x2))]
    ntk = np.zeros_like(covariances[2])
    for size in filters:
        covariances = [w_std**2 * window_mean(k, size) + b_std**2 for k in covariances]
        ntk = covariances[2] + w_std**2 * window_mean(ntk, size)
        k11, k22 = (diagonal(k) for k in covariances[:2])
        slope = moments(k11[:, None, :, None], k22[None, :, None, :], covariances[2])[1]
        ntk = slope * ntk
        covariances = [
            moments(a[:, None, :, None], b[None, :, None, :], k)[0]
            for (a, b), k in zip(((k11, k11), (k22, k22), (k11, k22)), covariances, strict=True)
        ]
    k12 = covariances[2]
    if pool:
        k12, ntk = k12.mean((-2, -1)), ntk.mean((-2, -1))
    else:
        k12, ntk = (np.diagonal(k, axis1=-2, axis2=-1).mean(-1) for k in (k12, ntk))
    nngp = w_std**2 * k12 + b_std**2
    return nngp, nngp + w_std**2 * ntk


def gradient_flow(kernel, times):
    """I − e^{−Θt} and Θ^{−1}(I − e^{−Θt}) for each time, by eigendecomposition."""
    values, vectors = np.linalg.eigh(kernel)
    decay = -np.expm1(-values * np.asarray(times)[:, None])
    return (
        np.einsum("ij,tj,kj->tik", vectors, decay, vectors),
        np.einsum("ij,tj,kj->tik", vectors, decay / values, vectors),
    )


def z_scores(samples, expected):
    """Distance of the samples' mean from what is expected, in standard errors."""
    error = samples.std(0, ddof=1) / np.sqrt(len(samples))
    return (samples.mean(0) - expected) / error


def run_python(code, *options, **environment):
    """What a fresh interpreter prints that runs ``code``; its errors fail the test."""
    process = subprocess.run(
        [sys.executable, *options, "-c", code], capture_output=True, text=True, env={**os.environ, **environment}
    )
    assert process.returncode == 0, process.stderr
    return process.stdout
