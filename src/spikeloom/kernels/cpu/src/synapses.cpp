// Synapses with decays of their own: filtered sums, gradients of weights and decays, and neurons
// that hear each other through them. Compiled once per instruction set, for floats and doubles.
#include "synapses.hpp"

#include "lanes.hpp"

namespace {

template <class S>
struct Vector {
  typedef S type __attribute__((vector_size(4 * LANES)));
  static constexpr int64_t lanes = 4 * LANES / sizeof(S);
};
template <class S>
using V = typename Vector<S>::type;
template <class S>
constexpr int64_t WIDTH = Vector<S>::lanes;

// Tiles whose numbers stay in the registers: rows of sums, and of gradients.
#if LANES == 16
constexpr int SUMS = 8, GRADIENTS = 5;
#else
constexpr int SUMS = 4, GRADIENTS = 2;
#endif
#define UNROLL _Pragma("GCC unroll 8")

template <class S>
INLINE V<S> load(const S* p) {
  V<S> a;
  __builtin_memcpy(&a, p, sizeof a);
  return a;
}
template <class S>
INLINE void store(S* p, V<S> a) {
  __builtin_memcpy(p, &a, sizeof a);
}
template <class S>
INLINE V<S> every(S a) {
  return a - V<S>{};
}

INLINE V<float> fused(V<float> a, V<float> b, V<float> c) {
#if defined(__AVX512F__)
  return (V<float>)_mm512_fmadd_ps((__m512)a, (__m512)b, (__m512)c);
#elif defined(__FMA__)
  return (V<float>)_mm256_fmadd_ps((__m256)a, (__m256)b, (__m256)c);
#else
  return a * b + c;
#endif
}
INLINE V<double> fused(V<double> a, V<double> b, V<double> c) {
#if defined(__AVX512F__)
  return (V<double>)_mm512_fmadd_pd((__m512d)a, (__m512d)b, (__m512d)c);
#elif defined(__FMA__)
  return (V<double>)_mm256_fmadd_pd((__m256d)a, (__m256d)b, (__m256d)c);
#else
  return a * b + c;
#endif
}

template <class S>
inline void clear(S* row, int64_t count) {
  for (int64_t i = 0; i < count; ++i) row[i] = 0;
}
template <class S>
inline void copy(S* to, const S* from, int64_t count) {
  if (!from) return clear(to, count);
  for (int64_t i = 0; i < count; ++i) to[i] = from[i];
}
// Part of a sample at a step into lanes, zeros behind it.
template <class S>
inline void take(S* to, const S* from, int64_t count, int64_t padded) {
  for (int64_t i = 0; i < count; ++i) to[i] = from[i];
  for (int64_t i = count; i < padded; ++i) to[i] = 0;
}
template <class S>
INLINE S* sample_at(const Sequence& s, int64_t t, int64_t n) {
  return (S*)s.data + t * s.time + n * s.sample;
}

// K rows of one vector of lanes through all steps: adds up what they contribute.
template <class S, int K, bool CARRIED>
inline void sum_tile(const SynapsesCall& c, const S* x, int64_t row, int64_t lane, int64_t n,
                     S* sums) {
  constexpr int64_t L = WIDTH<S>;
  const int64_t at = row * c.padded + lane, block = n * c.rows * c.padded + at;
  V<S> w[K], r[K], e[K];
  UNROLL for (int k = 0; k < K; ++k) {
    w[k] = load((const S*)c.weight + at + k * c.padded);
    r[k] = load((const S*)c.keep + at + k * c.padded);
    e[k] = CARRIED ? load((const S*)c.state + block + k * c.padded) : V<S>{};
  }
  const int64_t last = c.steps - 1;
  for (int64_t s = 0; s <= last; ++s) {
    const int64_t t = c.reverse ? last - s : s;
    V<S> even = load(sums + t * L), odd{};
    UNROLL for (int k = 0; k < K; ++k) {
      const V<S> in = every(x[t * K + k]);
      V<S>& sum = k % 2 ? odd : even;
      if (CARRIED) {  // e holds currents
        e[k] = fused(r[k], e[k], w[k] * in);
        sum += e[k];
      } else {  // traces of the input
        e[k] = fused(r[k], e[k], in);
        sum = fused(w[k], e[k], sum);
      }
    }
    store(sums + t * L, even + odd);
  }
  if (!c.last) return;
  UNROLL for (int k = 0; k < K; ++k)
    store((S*)c.last + block + k * c.padded, CARRIED ? e[k] : w[k] * e[k]);
}

template <class S, int K>
inline void sum_rows(const SynapsesCall& c, int64_t row, int64_t first, int64_t vectors, int64_t n,
                     S* tile, S* sums) {
  for (int64_t t = 0; t < c.steps; ++t) {
    const S* x = sample_at<S>(c.x, t, n) + row;
    for (int k = 0; k < K; ++k) tile[t * K + k] = x[k];
  }
  for (int64_t v = 0; v < vectors; ++v) {
    S* own = sums + v * c.steps * WIDTH<S>;
    const int64_t lane = (first + v) * WIDTH<S>;
    if (c.state) sum_tile<S, K, true>(c, tile, row, lane, n, own);
    else sum_tile<S, K, false>(c, tile, row, lane, n, own);
  }
}

// One sample, some vectors of lanes. The task's number is sample * groups + group.
template <class S>
void sums_of(const SynapsesCall& c, const Cut& cut, int64_t task, float* scratch) {
  constexpr int64_t L = WIDTH<S>;
  const int64_t n = task / cut.groups(), first = task % cut.groups() * cut.group;
  const int64_t vectors = cut.vectors - first < cut.group ? cut.vectors - first : cut.group;
  S *sums = (S*)scratch, *tile = sums + vectors * c.steps * L;
  clear(sums, vectors * c.steps * L);
  int64_t row = 0;
  for (; row + SUMS <= c.rows; row += SUMS) sum_rows<S, SUMS>(c, row, first, vectors, n, tile, sums);
  for (; row < c.rows; ++row) sum_rows<S, 1>(c, row, first, vectors, n, tile, sums);
  for (int64_t t = 0; t < c.steps; ++t)
    for (int64_t v = 0; v < vectors; ++v) {
      const int64_t lane = (first + v) * L;
      const S* from = sums + (v * c.steps + t) * L;
      S* to = sample_at<S>(c.y, t, n) + lane;
      for (int64_t l = 0; l < L && lane + l < c.lanes; ++l) to[l] = from[l];
    }
}

// K rows of one vector through all steps of a sample: adds to their gradients.
template <class S, int K>
inline void gradient_tile(int64_t steps, const S* x, int64_t stride, const S* d, const S* keep,
                          int64_t padded, S* grads) {
  constexpr int64_t L = WIDTH<S>;
  V<S> r[K], e[K]{}, f[K]{}, of_w[K], of_r[K];
  UNROLL for (int k = 0; k < K; ++k) {
    r[k] = load(keep + k * padded);
    of_w[k] = load(grads + 2 * k * L);
    of_r[k] = load(grads + (2 * k + 1) * L);
  }
  for (int64_t t = 0; t < steps; ++t, x += stride, d += L) {
    const V<S> error = load(d);
    UNROLL for (int k = 0; k < K; ++k) {
      f[k] = fused(r[k], f[k], e[k]);
      e[k] = fused(r[k], e[k], every(x[k]));
      of_w[k] = fused(error, e[k], of_w[k]);
      of_r[k] = fused(error, f[k], of_r[k]);
    }
  }
  UNROLL for (int k = 0; k < K; ++k) {
    store(grads + 2 * k * L, of_w[k]);
    store(grads + (2 * k + 1) * L, of_r[k]);
  }
}

// A chunk of rows, some vectors of lanes, all samples. The task's number is chunk * groups + group.
template <class S>
void gradients_of(const SynapsesCall& c, const Cut& cut, int64_t task, float* scratch) {
  constexpr int64_t L = WIDTH<S>;
  const int64_t row = task / cut.groups() * CHUNK, first = task % cut.groups() * cut.group;
  const int64_t rows = c.rows - row < CHUNK ? c.rows - row : CHUNK;
  const int64_t vectors = cut.vectors - first < cut.group ? cut.vectors - first : cut.group;
  S *grads = (S*)scratch, *x = grads + 2 * vectors * rows * L, *d = x + c.steps * CHUNK;
  clear(grads, 2 * vectors * rows * L);
  for (int64_t n = 0; n < c.batch; ++n) {
    for (int64_t t = 0; t < c.steps; ++t)
      take(x + t * CHUNK, sample_at<S>(c.x, t, n) + row, rows, rows);
    for (int64_t v = 0; v < vectors; ++v) {
      const int64_t lane = (first + v) * L, some = c.lanes - lane < L ? c.lanes - lane : L;
      for (int64_t t = 0; t < c.steps; ++t)
        take(d + t * L, sample_at<S>(c.y, t, n) + lane, some, L);
      const S* keep = (const S*)c.keep + row * c.padded + lane;
      S* own = grads + 2 * v * rows * L;
      int64_t i = 0;
      for (; i + GRADIENTS <= rows; i += GRADIENTS)
        gradient_tile<S, GRADIENTS>(c.steps, x + i, CHUNK, d, keep + i * c.padded, c.padded,
                                    own + 2 * i * L);
      for (; i < rows; ++i)
        gradient_tile<S, 1>(c.steps, x + i, CHUNK, d, keep + i * c.padded, c.padded,
                            own + 2 * i * L);
    }
  }
  for (int64_t v = 0; v < vectors; ++v)
    for (int64_t i = 0; i < rows; ++i) {
      const int64_t at = (row + i) * c.padded + (first + v) * L;
      const S* own = grads + 2 * (v * rows + i) * L;
      store((S*)c.grad_weight + at, load(own));
      store((S*)c.grad_keep + at, load(own + L) * load((const S*)c.weight + at));
    }
}

// Currents of the synapses move on by a step, and what they sum up to is added to h.
template <class S, int G>
INLINE void hear(const SpikingCall& c, const S* heard, const int32_t* list, int64_t ones,
                 int64_t lane, S* current, S* h) {
  constexpr int64_t L = WIDTH<S>;
  V<S> sums[G];
  UNROLL for (int g = 0; g < G; ++g) sums[g] = load(h + lane + g * L);
  const S *keep = (const S*)c.keep + lane, *weight = (const S*)c.weight + lane;
  S* own = current + lane;
  for (int64_t k = 0; k < c.width; ++k) {
    UNROLL for (int g = 0; g < G; ++g) {
      const int64_t at = k * c.padded + g * L;
      const V<S> i = load(keep + at) * load(own + at);
      store(own + at, i);
      sums[g] += i;
    }
  }
  for (int64_t j = 0; j < ones; ++j) {
    UNROLL for (int g = 0; g < G; ++g) {
      const int64_t at = list[j] * c.padded + g * L;
      const V<S> more = load(weight + at) * every(heard[list[j]]);
      store(own + at, load(own + at) + more);
      sums[g] += more;
    }
  }
  UNROLL for (int g = 0; g < G; ++g) store(h + lane + g * L, sums[g]);
}

template <class S>
void spikes_of(const SpikingCall& c, int64_t n, float* scratch) {
  constexpr int64_t L = WIDTH<S>;
  const int64_t P = c.padded;
  S *s = (S*)scratch, *h = s + P, *jump[2] = {h + P, h + 2 * P}, *current = h + 3 * P;
  int32_t* list = (int32_t*)(current + (c.weight ? c.width * P : 0));
  copy(s, c.first ? (const S*)c.first + n * P : nullptr, P);
  for (int j = 0; j < 2; ++j) {
    const S* state = (const S*)c.jumps[j].state;
    copy(jump[j], state ? state + n * P : nullptr, P);
  }
  if (c.weight) {
    const S* state = (const S*)c.synapses;
    copy(current, state ? state + n * c.width * P : nullptr, c.width * P);
  }
  const V<S> threshold = every((S)c.threshold);
  for (int64_t t = 0; t < c.steps; ++t) {
    take(h, sample_at<S>(c.x, t, n), c.width, P);
    if (c.weight) {
      int64_t ones = 0, lane = 0;
      for (int64_t k = 0; k < c.width; ++k)
        if (s[k] != 0) list[ones++] = (int32_t)k;
      for (; lane + 4 * L <= P; lane += 4 * L) hear<S, 4>(c, s, list, ones, lane, current, h);
      for (; lane < P; lane += L) hear<S, 1>(c, s, list, ones, lane, current, h);
    }
    for (int64_t i = 0; i < P; i += L) {
      V<S> potential = load(h + i);
      const V<S> before = load(s + i);
      for (int j = 0; j < 2; ++j) {
        if (!c.jumps[j].keep) continue;
        const V<S> b = load((const S*)c.jumps[j].keep + i) * load(jump[j] + i) +
                       (S)c.jumps[j].amount * before;
        store(jump[j] + i, b);
        potential -= b;
      }
      const V<S> u = potential - threshold, one = every((S)1), none{};
      store(h + i, potential);
      store(s + i, c.strict ? (u > none ? one : none) : (u >= none ? one : none));
    }
    take(sample_at<S>(c.spike, t, n), s, c.width, c.width);
    take(sample_at<S>(c.h, t, n), h, c.width, c.width);
    for (int64_t i = c.width; i < P; ++i) s[i] = 0;
  }
  for (int j = 0; j < 2; ++j)
    if (c.jumps[j].last) copy((S*)c.jumps[j].last + n * P, jump[j], P);
  if (c.weight && c.synapses_last) copy((S*)c.synapses_last + n * c.width * P, current, c.width * P);
}

// Errors of the synapses, a row for each neuron that hears, and what they send back.
template <class S, int G>
INLINE void send_back(const SpikingCall& c, const S* d, int64_t lane, S* left, S* back) {
  constexpr int64_t L = WIDTH<S>;
  V<S> sums[G];
  UNROLL for (int g = 0; g < G; ++g) sums[g] = load(back + lane + g * L);
  const S *keep = (const S*)c.keep + lane, *weight = (const S*)c.weight + lane;
  for (int64_t j = 0; j < c.width; ++j) {
    const V<S> error = every(d[j]);
    UNROLL for (int g = 0; g < G; ++g) {
      const int64_t at = j * c.padded + g * L;
      const V<S> l = fused(load(keep + at), load(left + lane + at), error);
      store(left + lane + at, l);
      sums[g] = fused(load(weight + at), l, sums[g]);
    }
  }
  UNROLL for (int g = 0; g < G; ++g) store(back + lane + g * L, sums[g]);
}

template <class S>
void errors_of(const SpikingCall& c, int64_t n, float* scratch) {
  constexpr int64_t L = WIDTH<S>;
  const int64_t P = c.padded;
  S *d = (S*)scratch, *back = d + P, *jump[2] = {back + P, back + 2 * P}, *left = back + 3 * P;
  clear(d, 4 * P + (c.weight ? c.width * P : 0));
  for (int64_t t = c.steps - 1; t >= 0; --t) {
    const S *grad = sample_at<S>(c.x, t, n), *slope = sample_at<S>(c.h, t, n);
    for (int64_t i = 0; i < c.width; ++i) d[i] = slope[i] * (grad[i] + back[i]);
    take(sample_at<S>(c.spike, t, n), d, c.width, c.width);
    for (int64_t i = 0; i < P; i += L) {
      V<S> sent{};
      for (int j = 0; j < 2; ++j) {
        if (!c.jumps[j].keep) continue;
        const V<S> l = load((const S*)c.jumps[j].keep + i) * load(jump[j] + i) - load(d + i);
        store(jump[j] + i, l);
        if (!c.detach) sent += (S)c.jumps[j].amount * l;
      }
      store(back + i, sent);
    }
    if (!c.weight || t == 0) continue;
    int64_t lane = 0;
    for (; lane + 4 * L <= P; lane += 4 * L) send_back<S, 4>(c, d, lane, left, back);
    for (; lane < P; lane += L) send_back<S, 1>(c, d, lane, left, back);
  }
}

}  // namespace

#define TEXT_OF(name) #name
#define TEXT(name) TEXT_OF(name)
#define JOINED(a, b) a##b
#define VARIANT(name) JOINED(synapses_, name)
extern const SynapsesVariant VARIANT(ISA);
const SynapsesVariant VARIANT(ISA) = {
    TEXT(ISA),
    LANES,
    {sums_of<float>, sums_of<double>},
    {gradients_of<float>, gradients_of<double>},
    {spikes_of<float>, spikes_of<double>},
    {errors_of<float>, errors_of<double>},
};
