// Neurons of an excitatory-inhibitory network for one step, and a step of drift of all its weights:
// the operations of functional/ei_network.py and functional/sleep.py in their order.
#include "ei.hpp"
#include "lanes.hpp"

namespace {

constexpr int HALF = LANES / 2;
typedef double vd __attribute__((vector_size(8 * HALF)));
typedef int64_t vl __attribute__((vector_size(8 * HALF)));
typedef float vs __attribute__((vector_size(4 * HALF)));

INLINE vf bounded(vf a, float low, float high) {
  a = pick(a < low, all(low), a);
  return pick(a > high, all(high), a);
}

void neurons(const EICall& c, const EIRows& r) {
  for (int64_t m = 0; m < r.padded; m += LANES) {
    vf i = get(r.i_syn + m), v = get(r.v + m), a = get(r.adaptation + m);
    i = i + (get(r.drive + m) - i) * c.k_syn;
    v = v + ((c.v_rest - v) + i * c.resistance) * c.k_m;
    if (r.noise) v = v + get(r.noise + m);
    v = bounded(v, c.v_lowest, c.v_highest);
    const vf threshold = bounded(a + c.v_threshold, c.threshold_lowest, c.threshold_highest);
    const vi spike = v > threshold;
    v = pick(spike, all(c.v_reset), v);
    a = a - a * c.k_adapt;
    a = a + pick(spike, all(c.jump), vf{});
    put(r.i_syn + m, i);
    put(r.v + m, v);
    put(r.adaptation + m, a);
    for (int l = 0; l < LANES; ++l) r.spikes[m + l] = spike[l] != 0;
  }
}

INLINE vd fetch_all(const double* p) {
  vd a;
  __builtin_memcpy(&a, p, sizeof a);
  return a;
}

INLINE vd exp64(vd x) {
  const vd magic = vd{} + 6755399441055744.0;
  const vd up = x * 1.4426950408889634 + magic, n = up - magic;
  const vd r = (x - n * 0.6931471803691238) - n * 1.9082149292705877e-10;
  vd p = vd{} + 1.0 / 6227020800;
  p = p * r + 1.0 / 479001600;
  p = p * r + 1.0 / 39916800;
  p = p * r + 1.0 / 3628800;
  p = p * r + 1.0 / 362880;
  p = p * r + 1.0 / 40320;
  p = p * r + 1.0 / 5040;
  p = p * r + 1.0 / 720;
  p = p * r + 1.0 / 120;
  p = p * r + 1.0 / 24;
  p = p * r + 1.0 / 6;
  p = p * r + 1.0 / 2;
  p = p * r + 1.0;
  p = p * r + 1.0;
  return p * (vd)(((vl)up + 1023) << 52);  // the low bits of `up` are n
}

double drift(int64_t count, double decay, const double* reference, const double* shift, double* log,
             float* size) {
  const vd magic = vd{} + 6755399441055744.0;
  vd total{};
  for (int64_t k = 0; k < count; k += HALF) {
    vd l = fetch_all(log + k) * decay + fetch_all(shift + k);
    __builtin_memcpy(log + k, &l, sizeof l);
    const vs w = __builtin_convertvector(fetch_all(reference + k) * exp64(l), vs);
    __builtin_memcpy(size + k, &w, sizeof w);
    total += (__builtin_convertvector(w, vd) * 4294967296.0 + magic) - magic;
  }
  double sum = 0;
  for (int l = 0; l < HALF; ++l) sum += total[l];
  return sum;
}

}  // namespace

#define TEXT_OF(name) #name
#define TEXT(name) TEXT_OF(name)
#define JOINED(a, b) a##b
#define VARIANT(name) JOINED(ei_, name)
extern const EIVariant VARIANT(ISA);
const EIVariant VARIANT(ISA) = {TEXT(ISA), neurons, drift};
