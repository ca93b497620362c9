// Spikes times weights: the weights lie in panels of a few vectors' columns, one row after the
// other, and a product adds up the rows of the neurons that fired, or multiplies rows of numbers.
#pragma once
#include "lanes.hpp"
#include "products.hpp"

// Sums stay in registers only if the loop over them is written out, which -O2 alone does not do.
#define UNROLLED _Pragma("GCC unroll 8")

namespace {

constexpr int VECTORS = 8;  // of a panel: as many sums in registers hide the latency of additions
constexpr int64_t PANEL = VECTORS * LANES;
constexpr int TILE = LANES == 16 ? 6 : 2;  // rows whose sums fit into the registers, half a panel each

INLINE vf fused(vf a, vf b, vf c) {
#if defined(__AVX512F__)
  return (vf)_mm512_fmadd_ps((__m512)a, (__m512)b, (__m512)c);
#elif defined(__FMA__)
  return (vf)_mm256_fmadd_ps((__m256)a, (__m256)b, (__m256)c);
#else
  return a * b + c;
#endif
}

// Bit i: whether lane i of a is `number`.
INLINE uint64_t equal_bits(vf a, float number) {
#if defined(__AVX512F__)
  return _mm512_cmp_ps_mask((__m512)a, (__m512)all(number), _CMP_EQ_OQ);
#elif defined(__AVX2__)
  return (uint64_t)_mm256_movemask_ps((__m256)(a == all(number)));
#elif defined(__SSE2__)
  return (uint64_t)_mm_movemask_ps((__m128)(a == all(number)));
#else
  uint64_t bits = 0;
  for (int i = 0; i < LANES; ++i) bits |= (uint64_t)(a[i] == number) << i;
  return bits;
#endif
}

INLINE bool any(vi mask) {
#if defined(__AVX512F__)
  return _mm512_movepi32_mask((__m512i)mask) != 0;
#else
  int32_t found = 0;
  for (int i = 0; i < LANES; ++i) found |= mask[i];
  return found != 0;
#endif
}
INLINE vi infinite(vf a) { return ~(absolute(a) < __builtin_inff()); }  // NaN too

// Bits of a row of spikes; returns how many are 1, or -1 if some are neither 0 nor 1.
inline int64_t pack_row(const float* row, int64_t count, uint64_t* bits) {
  int64_t ones = 0;
  for (int64_t first = 0; first < count; first += WORD) {
    uint64_t set = 0, clear = 0;
    for (int64_t i = 0; i < WORD; i += LANES) {
      const int64_t left = count - first - i;
      const vf a = left > 0 ? get(row + first + i, left < LANES ? left : LANES) : vf{};
      set |= equal_bits(a, 1.0f) << i;
      clear |= equal_bits(a, 0.0f) << i;
    }
    if (~(set | clear)) return -1;
    bits[first / WORD] = set;
    ones += __builtin_popcountll(set);
  }
  return ones;
}

// Adds up those of a panel's rows whose bits are set; Q vectors of a panel that has `stride` floats.
template <int Q>
INLINE void add_rows(const uint64_t* bits, int64_t words, const float* panel, int64_t stride,
                     vf (&sums)[Q]) {
  for (int64_t w = 0; w < words; ++w, panel += WORD * stride)
    for (uint64_t left = bits[w]; left; left &= left - 1) {
      const float* row = panel + __builtin_ctzll(left) * stride;
      UNROLLED for (int q = 0; q < Q; ++q) sums[q] += get(row + q * LANES);
    }
}

template <int Q>
INLINE void put_some(float* to, const vf (&sums)[Q], int64_t count) {
  UNROLLED for (int q = 0; q < Q; ++q) {
    const int64_t left = count - q * LANES;
    if (left > 0) put(to + q * LANES, sums[q], left < LANES ? left : LANES);
  }
}

// R rows of numbers [R, depth] times half a panel.
template <int R>
inline void multiply_tile(const float* rows, int64_t stride, int64_t depth, const float* panel,
                          float* out, int64_t columns) {
  constexpr int Q = VECTORS / 2;
  vf sums[R][Q]{};
  for (int64_t k = 0; k < depth; ++k) {
    vf weights[Q];
    UNROLLED for (int q = 0; q < Q; ++q) weights[q] = get(panel + k * PANEL + q * LANES);
    UNROLLED for (int r = 0; r < R; ++r) {
      const vf number = all(rows[r * stride + k]);
      UNROLLED for (int q = 0; q < Q; ++q) sums[r][q] = fused(number, weights[q], sums[r][q]);
    }
  }
  UNROLLED for (int r = 0; r < R; ++r) put_some<Q>(out + r * stride, sums[r], columns);
}

inline void multiply_few(int64_t count, const float* rows, int64_t stride, int64_t depth,
                         const float* panel, float* out, int64_t columns) {
  switch (count) {
    case 1: return multiply_tile<1>(rows, stride, depth, panel, out, columns);
    case 2: return multiply_tile<2>(rows, stride, depth, panel, out, columns);
#if LANES == 16
    case 3: return multiply_tile<3>(rows, stride, depth, panel, out, columns);
    case 4: return multiply_tile<4>(rows, stride, depth, panel, out, columns);
    case 5: return multiply_tile<5>(rows, stride, depth, panel, out, columns);
    default: return multiply_tile<6>(rows, stride, depth, panel, out, columns);
#endif
  }
}

// Rows [count, width] times a square of weights in panels -> out [count, width].
inline void multiply(const float* rows, int64_t count, int64_t width, const float* panels,
                     float* out) {
  for (int64_t column = 0; column < width; column += PANEL / 2) {
    const float* panel = panels + column / PANEL * width * PANEL + column % PANEL;
    const int64_t left = width - column;
    for (int64_t r = 0; r < count; r += TILE) {
      const int64_t some = count - r < TILE ? count - r : TILE;
      multiply_few(some, rows + r * width, width, width, panel, out + r * width + column, left);
    }
  }
}

// The same for rows that are bits.
inline void add_up(const uint64_t* bits, int64_t count, int64_t width, const float* panels,
                   float* out) {
  const int64_t words = words_of(width);
  for (int64_t column = 0; column < width; column += PANEL) {
    for (int64_t r = 0; r < count; ++r) {
      vf sums[VECTORS]{};
      add_rows<VECTORS>(bits + r * words, words, panels + column * width, PANEL, sums);
      put_some<VECTORS>(out + r * width + column, sums, width - column);
    }
  }
}

// Rows first .. first + depth of a source to a panel, `stride` floats a row, and zeros beyond its
// `columns`. Returns whether all numbers are finite.
inline bool panel_from(const float* source, int64_t row, int64_t column, int64_t depth,
                       int64_t columns, float* panel, int64_t stride) {
  vi bad{};
  if (column == 1) {
    for (int64_t b = 0; b < depth; ++b, source += row, panel += stride) {
      for (int64_t i = 0; i < stride; i += LANES) {
        const int64_t left = columns - i;
        const vf a = left > 0 ? get(source + i, left < LANES ? left : LANES) : vf{};
        bad |= infinite(a);
        put(panel + i, a);
        __builtin_prefetch(source + 8 * row + i);
      }
    }
    return !any(bad);
  }
  for (int64_t b = 0; b < depth; b += LANES) {  // a transpose: what a vector holds goes to as many rows
    const int64_t some = depth - b < LANES ? depth - b : LANES;
    for (int64_t i = 0; i < stride; ++i) {
      const vf a = i < columns ? get(source + i * column + b * row, some) : vf{};
      bad |= infinite(a);
      for (int64_t k = 0; k < some; ++k) panel[(b + k) * stride + i] = a[k];
    }
  }
  return !any(bad);
}

}  // namespace
