// The ops of a program on bits, a piece at a time. Compiled once per instruction set.
//
// What a window weighs is in weigh.hpp; bias, shortcuts and the neuron follow here, while the sums are in
// L1, and the ops without weights.
#include "sums.hpp"
#include "cell.hpp"
#include "weigh.hpp"

namespace {

constexpr int32_t BARE = -1;  // no neuron

// One vector of bits as numbers: `scale` where set.
INLINE vf numbers(uint32_t bits, float scale) {
  vi lane;
  for (int i = 0; i < LANES; ++i) lane[i] = 1 << i;
  vi set = ((vi{} + (int32_t)bits) & lane) != 0;
  return pick(set, all(scale), vf{});
}

// x = acc + bias + what is added without weights.
inline void add_up(const Op& op, const Place& p, int64_t t, Desk& d) {
  for (int64_t i = 0; i < p.left; i += LANES)
    put(d.x + i, get(d.acc + i) + get(op.bias + p.channel + i));
  for (int64_t k = 0; k < op.count; ++k) {
    const Source& s = op.sources[k];
    if (s.weighted) continue;
    const int64_t place = t * s.step + p.n * s.image + p.y * s.row + p.x * s.column;
    if (s.kind == REALS) {
      const float* from = (const float*)s.data + place + p.channel;
      for (int64_t i = 0; i < p.left; i += LANES)
        put(d.x + i, get(d.x + i) + s.scale * get(from + i, least(LANES, p.left - i)));
      continue;
    }
    const unit* from = (const unit*)s.data + place + p.channel / UNIT;
    float scale = s.scale;
    for (int64_t plane = 0; plane < s.planes; ++plane, scale *= 2.0f)
      for (int64_t i = 0; i < p.left; i += LANES) {
        const uint32_t bits = from[plane * s.plane + i / UNIT] >> (i % UNIT);
        put(d.x + i, get(d.x + i) + numbers(bits, scale));
      }
  }
}

// A bit per lane: whether it is not 0.
INLINE uint32_t bits_of(vf s) {
#if defined(__AVX512F__)
  return _mm512_cmp_ps_mask((__m512)s, _mm512_setzero_ps(), _CMP_NEQ_UQ);
#elif defined(__AVX2__)
  return (uint32_t)_mm256_movemask_ps((__m256)(s != 0.0f));
#elif defined(__SSE2__)
  return (uint32_t)_mm_movemask_ps((__m128)(s != 0.0f));
#else
  uint32_t bits = 0;
  for (int i = 0; i < LANES; ++i) bits |= (uint32_t)(s[i] != 0.0f) << i;
  return bits;
#endif
}

template <int K, bool EACH>
INLINE void fire(const Op& op, const Cell<K, EACH>& cell, const Place& p, int64_t t, Desk& d) {
  const int64_t place = t * op.step + p.n * op.image + p.y * op.row + p.x * op.column;
  unit* bits = (unit*)op.out + place + p.channel / UNIT;
  float* reals = (float*)op.out + place + p.channel;
  uint32_t found = 0;
  for (int64_t i = 0; i < p.left; i += LANES) {
    vf v = get(d.v + i), w{}, h, u{};
    if constexpr (K == CUBA_LIF || K == ALIF) w = get(d.w + i);
    vf out = cell.step(get(d.x + i), v, w, h, u, i);
    put(d.v + i, v);
    if constexpr (K == CUBA_LIF || K == ALIF) put(d.w + i, w);
    if constexpr (K == LI) {
      put(reals + i, out, least(LANES, p.left - i));
    } else {
      found |= bits_of(out) << (i % UNIT);
      if ((i + LANES) % UNIT == 0 || i + LANES >= p.left) {
        const int64_t valid = p.left - i / UNIT * UNIT;
        bits[i / UNIT] = (unit)(valid < UNIT ? found & ((1u << valid) - 1) : found);
        found = 0;
      }
    }
  }
}

inline void put_reals(const Op& op, const Place& p, int64_t t, const Desk& d) {
  float* to = (float*)op.out + t * op.step + p.n * op.image + p.y * op.row + p.x * op.column;
  for (int64_t i = 0; i < p.left; i += LANES)
    put(to + p.channel + i, get(d.x + i), least(LANES, p.left - i));
}

inline Place place_of(const Op& op, int64_t pixel, int64_t block) {
  const int64_t row = pixel / op.width, channel = block * op.block_width;
  return {row / op.height, row % op.height, pixel % op.width, channel,
          least(op.block_width, op.channels - channel)};
}

// Calls f(place, t) for every pixel and step, with x = all that is summed up there.
template <class F>
INLINE void each_sum(const Op& op, int64_t block, int64_t from, int64_t to, Desk& d, F&& f) {
  const float* weights = op.weights + block * op.rows * op.block_width;
  float* one = d.acc;
  Place places[TILE];
  for (int64_t pixel = from; pixel < to;) {
    const int64_t count = op.tile ? least(op.tile, to - pixel) : 1;
    for (int64_t i = 0; i < count; ++i) places[i] = place_of(op, pixel + i, block);
    if (op.tile) weigh_all(op, block, places, count, d);
    for (int64_t i = 0; i < count; ++i)
      for (int64_t t = 0; t < op.steps; ++t) {
        if (op.tile) d.acc = d.tile + (i * op.steps + t) * op.block_width;
        else if (t == 0 || !op.constant) weigh(op, weights, places[i], t, d);
        if (t == 0 || !op.constant) add_up(op, places[i], t, d);
        f(places[i], t);
      }
    d.acc = one;
    pixel += count;
  }
}

template <int K, bool EACH>
void sum_pixels(const Op& op, int64_t block, int64_t from, int64_t to, Desk& d) {
  const Place first = place_of(op, from, block);
  // Values per neuron lie as the pixels do; those per channel start again with each of them.
  const int64_t neuron = (first.y * op.width + first.x) * op.channels + first.channel;
  Rows rows{d.rows, WIDEST};
  const Cell<K, EACH> cell(*op.neuron, neuron, op.block_width, rows);
  each_sum(op, block, from, to, d, [&](const Place& p, int64_t t) __attribute__((always_inline)) {
    if (t == 0)
      for (int64_t i = 0; i < op.block_width; i += LANES) {
        put(d.v + i, all(cell.rest));
        put(d.w + i, vf{});
      }
    fire(op, cell, p, t, d);
  });
}

template <>
void sum_pixels<BARE, false>(const Op& op, int64_t block, int64_t from, int64_t to, Desk& d) {
  each_sum(op, block, from, to, d, [&](const Place& p, int64_t t) __attribute__((always_inline)) {
    put_reals(op, p, t, d);
  });
}

inline int64_t most_values(const Call& c) {
  int64_t most = 1;
  const Value* values[] = {&c.leak.keep, &c.second.keep, &c.threshold, &c.beta};
  for (const Value* value : values)
    if (per_neuron(*value) && value->count > most) most = value->count;
  return most;
}

template <int K>
void sum_as(const Op& op, int64_t block, int64_t from, int64_t to, Desk& d) {
  const int64_t most = most_values(*op.neuron);
  if (most == 1) return sum_pixels<K, false>(op, block, from, to, d);
  if (most <= op.channels) return sum_pixels<K, true>(op, block, from, to, d);
  for (; from < to; ++from) sum_pixels<K, true>(op, block, from, from + 1, d);
}

bool sum(const Op& op, int64_t index) {
  Desk d;
  if (!d.open(op)) return false;
  const int64_t all_pixels = op.batch * op.height * op.width;
  const int64_t pieces = op.tasks / op.blocks, block = index / pieces;
  const int64_t from = index % pieces * op.pixels, to = least(from + op.pixels, all_pixels);
  if (!op.neuron) {
    sum_pixels<BARE, false>(op, block, from, to, d);
    return true;
  }
  switch (op.neuron->kind) {
    case LIF: sum_as<LIF>(op, block, from, to, d); break;
    case CUBA_LIF: sum_as<CUBA_LIF>(op, block, from, to, d); break;
    case ALIF: sum_as<ALIF>(op, block, from, to, d); break;
    default: sum_as<LI>(op, block, from, to, d);
  }
  return true;
}

// Adds bits of weight 2^from to a number in planes, `n` units at once.
INLINE void add_bits(unit* planes, int64_t count, int64_t stride, const unit* bits, int64_t from,
                     int64_t n) {
  for (int64_t i = 0; i < n; ++i) {
    uint32_t carry = bits[i];
    for (int64_t p = from; carry && p < count; ++p) {
      unit& digit = planes[p * stride + i];
      const uint32_t both = digit & carry;
      digit ^= (unit)carry;
      carry = both;
    }
  }
}

// Walks the units that a source's window covers: f(first unit of plane 0 of a tap).
template <class F>
INLINE void each_tap(const Source& s, int64_t place, int64_t oy, int64_t ox, F&& f) {
  const View view(s, oy, ox);
  for (int64_t ky = view.down.from; ky < view.down.to; ++ky)
    for (int64_t kx = view.across.from; kx < view.across.to; ++kx)
      f((const unit*)s.data + place + (view.y + ky * s.window.dilation_y) * s.row +
        (view.x + kx * s.window.dilation_x) * s.column);
}

void count_bits(const Op& op, const Place& p, int64_t t, unit* out) {
  const int64_t n = units(op.channels);
  for (int64_t plane = 0; plane < op.planes; ++plane)
    for (int64_t i = 0; i < n; ++i) out[plane * op.plane + i] = 0;
  for (int64_t k = 0; k < op.count; ++k) {
    const Source& s = op.sources[k];
    each_tap(s, t * s.step + p.n * s.image, p.y, p.x, [&](const unit* from) {
      for (int64_t q = 0; q < s.planes; ++q)
        add_bits(out, op.planes, op.plane, from + q * s.plane, q, n);
    });
  }
}

void any_bit(const Op& op, const Place& p, int64_t t, unit* out) {
  const int64_t n = units(op.channels);
  const Source& s = op.sources[0];
  for (int64_t i = 0; i < n; ++i) out[i] = 0;
  each_tap(s, t * s.step + p.n * s.image, p.y, p.x, [&](const unit* from) {
    for (int64_t i = 0; i < n; ++i) out[i] |= from[i];
  });
}

void unpack(const Op& op, const Place& p, int64_t t, float* out) {
  const Source& s = op.sources[0];
  const unit* from = (const unit*)s.data + t * s.step + p.n * s.image + p.y * s.row + p.x * s.column;
  for (int64_t i = 0; i < op.channels; i += LANES) {
    vf x{};
    float scale = s.scale;
    for (int64_t plane = 0; plane < s.planes; ++plane, scale *= 2.0f)
      x += numbers(from[plane * s.plane + i / UNIT] >> (i % UNIT), scale);
    put(out + i, x, least(LANES, op.channels - i));
  }
}

// A piece of an op without weights: a run of pixels, each at all steps.
void move(const Op& op, int64_t index) {
  const int64_t from = index * op.pixels;
  const int64_t to = least(from + op.pixels, op.batch * op.height * op.width);
  for (int64_t pixel = from; pixel < to; ++pixel) {
    const Place p = place_of(op, pixel, 0);
    for (int64_t t = 0; t < op.steps; ++t) {
      const int64_t place = t * op.step + p.n * op.image + p.y * op.row + p.x * op.column;
      if (op.kind == COUNT) count_bits(op, p, t, (unit*)op.out + place);
      else if (op.kind == ANY) any_bit(op, p, t, (unit*)op.out + place);
      else unpack(op, p, t, (float*)op.out + place);
    }
  }
}

bool piece(const Op& op, int64_t index) {
  if (op.kind == SUM) return sum(op, index);
  move(op, index);
  return true;
}

}  // namespace

#define TEXT_OF(name) #name
#define TEXT(name) TEXT_OF(name)
#define JOINED(a, b) a##b
#define VARIANT(name) JOINED(sums_, name)
extern const SumsVariant VARIANT(ISA);
const SumsVariant VARIANT(ISA) = {TEXT(ISA), piece};
