// Competing neurons that learn by the timing of spikes: samples one after the other, step by step.
// Additions are in the order of the truth, functional/diehl_cook.py.
#include "shown.hpp"

#include "hash.hpp"
#include "lanes.hpp"

namespace {

constexpr int64_t QUADS = LANES / 2;  // 64-bit lanes
typedef uint64_t vq __attribute__((vector_size(8 * QUADS)));

template <class A>
INLINE A smaller(A a, A b) { return a < b ? a : b; }
INLINE vf clipped(vf a, float low, float high) {
  a = pick(a < all(low), all(low), a);
  return pick(a > all(high), all(high), a);
}
INLINE float clipped(float a, float low, float high) {
  return a < low ? low : a > high ? high : a;
}

// One sample at a time; the rows are those of the scratch memory.
struct Showing {
  const ShownCall& c;
  uint64_t *place, *limit;  // [inputs] those that may fire, and the number their bits stay below
  float* x;                 // [inputs] traces
  int32_t *active, *seen;   // [inputs] that fire in a step; [padded] neurons that fired so far
  float *v, *spike, *y, *count, *free;  // [padded] free: 1 where not refractory
  int32_t* wait;
  int64_t bright = 0, firing = 0, fired = 0;
  float others = 0;  // spikes of the step before

  Showing(const ShownCall& call, float* scratch) : c(call) {
    const int64_t row = shown_row(c.inputs);
    auto take = [&](int64_t floats) {
      float* here = scratch;
      scratch += floats;
      return here;
    };
    place = (uint64_t*)take(2 * row);
    limit = (uint64_t*)take(2 * row);
    x = take(row);
    active = (int32_t*)take(row);
    v = take(c.padded);
    spike = take(c.padded);
    y = take(c.padded);
    count = take(c.padded);
    free = take(c.padded);
    wait = (int32_t*)take(c.padded);
    seen = (int32_t*)take(c.padded);
  }

  // Sixteen neurons at once, so that weights are read a cache line at a time.
  void normalise() {
    for (int64_t j = 0; j < c.padded; j += 16) {
      double sum[16] = {};
      for (int64_t i = 0; i < c.inputs; ++i) {
        const float* row = c.w + i * c.padded + j;
        for (int64_t k = 0; k < 16; ++k) sum[k] += row[k];
      }
      float scale[16];
      for (int64_t k = 0; k < 16; ++k) scale[k] = sum[k] == 0 ? 1.0f : (float)(c.total / sum[k]);
      for (int64_t i = 0; i < c.inputs; ++i) {
        float* row = c.w + i * c.padded + j;
        for (int64_t k = 0; k < 16; ++k) row[k] *= scale[k];
      }
    }
  }

  void clip() {
    for (int64_t k = 0; k < c.inputs * c.padded; k += LANES)
      put(c.w + k, clipped(get(c.w + k), c.low, c.high));
  }

  void begin(const float* sample, int64_t showing) {
    bright = fired = 0;
    others = 0;
    for (int64_t i = 0; i < c.inputs; ++i) {
      const float p = smaller(sample[i] * c.rate[showing], 1.0f) * 16777216.0f;  // 2^24
      if (!(p > 0)) continue;
      const uint64_t whole = (uint64_t)p;
      place[bright] = (uint64_t)i;
      limit[bright++] = whole + ((float)whole < p);
    }
    for (int64_t k = bright; k % QUADS; ++k) place[k] = limit[k] = 0;
    for (int64_t i = 0; i < shown_row(c.inputs); ++i) x[i] = 0;
    for (int64_t j = 0; j < c.padded; ++j) {
      v[j] = c.rest;
      spike[j] = y[j] = count[j] = 0;
      free[j] = 1;
      wait[j] = 0;
    }
  }

  // Inputs that fire in this step, in increasing order.
  void draw(uint64_t key) {
    firing = 0;
    for (int64_t k = 0; k < bright; k += QUADS) {
      vq at, most;
      __builtin_memcpy(&at, place + k, sizeof at);
      __builtin_memcpy(&most, limit + k, sizeof most);
      const auto hit = (mixed(at ^ key) >> 40) < most;
      for (int64_t q = 0; q < QUADS; ++q)
        if (hit[q]) active[firing++] = (int32_t)place[k + q];
    }
  }

  // Potentials of a block of `Vectors` vectors from neuron j on; whether one is above threshold.
  template <int Vectors>
  INLINE bool charge(int64_t j) {
    vf drive[Vectors] = {};
    for (int64_t k = 0; k < firing; ++k) {
      const float* row = c.w + active[k] * c.padded + j;
      for (int n = 0; n < Vectors; ++n) drive[n] += get(row + n * LANES);
    }
    vi above{};
    for (int n = 0; n < Vectors; ++n) {
      float* at = v + j + n * LANES;
      vf in = drive[n] - c.inhibition * (others - get(spike + j + n * LANES));
      vf u = c.rest + c.keep * (get(at) - c.rest);
      u = pick(get(free + j + n * LANES) != 0.0f, u + in, u);
      put(at, u);
      above |= u >= c.threshold + get(c.theta + j + n * LANES);
    }
    for (int n = 0; n < LANES; ++n)
      if (above[n]) return true;
    return false;
  }

  void learn() {
    for (int64_t i = 0; i < shown_row(c.inputs); i += LANES) put(x + i, c.keep_plus * get(x + i));
    for (int64_t k = 0; k < firing; ++k) x[active[k]] = c.nearest ? 1.0f : x[active[k]] + 1.0f;
    for (int64_t k = 0; k < fired; ++k) {
      const int64_t j = seen[k];
      y[j] = c.keep_minus * y[j];
      if (spike[j] != 0) y[j] = c.nearest ? 1.0f : y[j] + 1.0f;
    }
    for (int64_t k = 0; k < fired; ++k)
      if (spike[seen[k]] != 0) grow(seen[k]);
    if (fired * LANES > c.padded) shrink_rows();
    else shrink_some();
  }

  // Of a neuron that fired: its weights grow, and shrink by the inputs that fired with it.
  void grow(int64_t j) {
    float* w = c.w + j;
    const float fall = c.a_minus * y[j];
    int64_t k = 0;
    for (int64_t i = 0; i < c.inputs; ++i, w += c.padded) {
      const bool with = k < firing && active[k] == i;
      k += with;
      const float change = c.a_plus * x[i] - (with ? fall : 0.0f);
      *w = clipped(*w + change, c.low, c.high);
    }
  }

  // Of neurons that fired earlier, by the inputs that fire now.
  void shrink_some() {
    for (int64_t k = 0; k < firing; ++k) {
      float* row = c.w + active[k] * c.padded;
      for (int64_t n = 0; n < fired; ++n) {
        const int64_t j = seen[n];
        if (spike[j] == 0) row[j] = clipped(row[j] - c.a_minus * y[j], c.low, c.high);
      }
    }
  }

  void shrink_rows() {
    for (int64_t k = 0; k < firing; ++k) {
      float* row = c.w + active[k] * c.padded;
      for (int64_t j = 0; j < c.padded; j += LANES) {
        vf w = get(row + j), less = clipped(w - c.a_minus * get(y + j), c.low, c.high);
        put(row + j, pick(get(spike + j) != 0.0f, w, less));
      }
    }
  }

  // Refractory times, spikes and thresholds after the potentials of a step.
  void fire(bool any) {
    for (int64_t j = 0; j < c.padded; ++j) {
      wait[j] -= wait[j] > 0;
      free[j] = wait[j] == 0;
    }
    others = 0;
    for (int64_t j = 0; j < c.padded; j += LANES) put(spike + j, vf{});
    if (any && c.one_spike) {
      int64_t best = -1;
      for (int64_t j = 0; j < c.padded; ++j)
        if (v[j] >= c.threshold + c.theta[j] && (best < 0 || v[j] > v[best])) best = j;
      spikes(best);
    } else if (any) {
      for (int64_t j = 0; j < c.padded; ++j)
        if (v[j] >= c.threshold + c.theta[j]) spikes(j);
    }
    if (!c.learns) return;
    for (int64_t j = 0; j < c.padded; j += LANES)
      put(c.theta + j, c.theta_keep * get(c.theta + j) + c.theta_step * get(spike + j));
  }

  void spikes(int64_t j) {
    v[j] = c.reset;
    spike[j] = 1;
    others += 1;
    wait[j] = (int32_t)c.refractory;
    free[j] = c.refractory == 0;
    if (count[j] == 0) seen[fired++] = (int32_t)j;
    count[j] += 1;
  }

  float show(uint64_t key) {
    for (int64_t t = 0; t < c.steps; ++t) {
      draw(mixed(key ^ (uint64_t)t));
      bool any = false;
      int64_t j = 0;
      for (; j + 4 * LANES <= c.padded; j += 4 * LANES) any |= charge<4>(j);
      for (; j < c.padded; j += LANES) any |= charge<1>(j);
      fire(any);
      if (c.learns) learn();
    }
    float total = 0;
    for (int64_t j = 0; j < c.padded; ++j) total += count[j];
    return total;
  }
};

void run(const ShownCall& c, int64_t first, int64_t count, float* scratch) {
  Showing now(c, scratch);
  for (int64_t n = first; n < first + count; ++n) {
    if (c.learns) {
      if (c.total != 0) now.normalise();
      now.clip();
    }
    const uint64_t key = mixed(mixed(c.seed) ^ (uint64_t)n);
    for (int64_t showing = 0; showing < c.most; ++showing) {
      now.begin(c.x + n * c.inputs, showing);
      if (now.show(mixed(key ^ (uint64_t)showing)) >= (float)c.least) break;
    }
    __builtin_memcpy(c.counts + n * c.padded, now.count, c.padded * sizeof(float));
  }
}

}  // namespace

#define TEXT_OF(name) #name
#define TEXT(name) TEXT_OF(name)
#define JOINED(a, b) a##b
#define VARIANT(name) JOINED(shown_, name)
extern const ShownVariant VARIANT(ISA);
const ShownVariant VARIANT(ISA) = {TEXT(ISA), run};
