// Slopes of the surrogates, each operation in the order of functional/surrogate.py, so that those
// without exp agree to the bit.
#pragma once
#include "call.hpp"
#include "lanes.hpp"

namespace {

INLINE vf density(vf z) { return exponential(-0.5f * (z * z)) / 2.50662827f; }

INLINE vf curve_slope(const Call& c, vf z) {
  switch (c.curve) {
    case ARCTAN: {
      vf q = 1.57079633f * z;
      return 1.0f / (1.0f + q * q) * 0.5f;
    }
    case SIGMOID: {
      vf q = 1.0f / (1.0f + exponential(-z));
      return q * (1.0f - q);
    }
    case TRIANGLE: {
      vf w = 1.0f - absolute(z);
      return pick(w < 0.0f, vf{}, w);
    }
    case RECTANGLE:
      return pick(absolute(z) < 0.5f, all(1.0f), vf{});
    case FAST_SIGMOID: {
      vf d = 1.0f + absolute(z);
      return 1.0f / (d * d) * 0.5f;
    }
    case GAUSSIAN:
      return density(z);
    case MULTI_GAUSSIAN: {
      vf lobes = density((z - 1.0f) / c.stretch) + density((z + 1.0f) / c.stretch);
      return c.centre * density(z) - c.side * lobes;
    }
    case EXPONENTIAL:
      return 0.5f * exponential(-absolute(z));
    case DSPIKE: {
      vf q = 1.0f / (1.0f + exponential(-2.0f * c.stretch * z));
      return pick(absolute(z) <= 0.5f, 4.0f * c.centre * (q * (1.0f - q)), vf{});
    }
    default:
      return all(1.0f);
  }
}

INLINE vf slope(const Call& c, vf u) { return c.slope * curve_slope(c, c.alpha * u); }

}  // namespace
