// Sums over weights of +1 and -1 as counts: of a window's bits s and signs p, |s & p| of the bits
// meet +1 and the others -1, so the sum is 2 |s & p| - |s|.
#pragma once
#include "lanes.hpp"
#include "sums.hpp"

namespace {

constexpr int64_t WIDE = LANES / 2;  // words of a vector
typedef uint64_t vq __attribute__((vector_size(8 * WIDE)));
typedef double vd __attribute__((vector_size(8 * WIDE)));
typedef float vs __attribute__((vector_size(4 * WIDE)));

// ones(bits): counts that may be added RUN times (0: any) before totals() makes them one number for
// a word.
#if defined(__AVX512VPOPCNTDQ__)
constexpr int64_t RUN = 0;
constexpr int ITEMS = 4;
INLINE vq ones(vq bits) { return (vq)_mm512_popcnt_epi64((__m512i)bits); }
INLINE vq totals(vq counts) { return counts; }
#elif defined(__AVX512BW__)
constexpr int64_t RUN = 31;  // of counts up to 8 in a byte
constexpr int ITEMS = 4;
INLINE vq ones(vq bits) {
  const __m512i table = _mm512_broadcast_i32x4(
      _mm_setr_epi8(0, 1, 1, 2, 1, 2, 2, 3, 1, 2, 2, 3, 2, 3, 3, 4));
  const __m512i low = _mm512_set1_epi8(15);
  const __m512i here = _mm512_and_si512((__m512i)bits, low);
  const __m512i there = _mm512_and_si512(_mm512_srli_epi16((__m512i)bits, 4), low);
  return (vq)_mm512_add_epi8(_mm512_shuffle_epi8(table, here), _mm512_shuffle_epi8(table, there));
}
INLINE vq totals(vq counts) {
  return (vq)_mm512_sad_epu8((__m512i)counts, _mm512_setzero_si512());
}
#elif defined(__AVX2__)
constexpr int64_t RUN = 31;
constexpr int ITEMS = 2;
INLINE vq ones(vq bits) {
  const __m256i table = _mm256_broadcastsi128_si256(
      _mm_setr_epi8(0, 1, 1, 2, 1, 2, 2, 3, 1, 2, 2, 3, 2, 3, 3, 4));
  const __m256i low = _mm256_set1_epi8(15);
  const __m256i here = _mm256_and_si256((__m256i)bits, low);
  const __m256i there = _mm256_and_si256(_mm256_srli_epi16((__m256i)bits, 4), low);
  return (vq)_mm256_add_epi8(_mm256_shuffle_epi8(table, here), _mm256_shuffle_epi8(table, there));
}
INLINE vq totals(vq counts) {
  return (vq)_mm256_sad_epu8((__m256i)counts, _mm256_setzero_si256());
}
#else
constexpr int64_t RUN = 31;
constexpr int ITEMS = 2;
INLINE vq ones(vq x) {
  x = x - (x >> 1 & 0x5555555555555555u);
  x = (x & 0x3333333333333333u) + (x >> 2 & 0x3333333333333333u);
  return (x + (x >> 4)) & 0x0f0f0f0f0f0f0f0fu;
}
INLINE vq totals(vq x) {
  x = (x & 0x00ff00ff00ff00ffu) + (x >> 8 & 0x00ff00ff00ff00ffu);
  x += x >> 16;
  return (x + (x >> 32)) & 0xffffu;
}
#endif

typedef uint16_t __attribute__((may_alias)) alias_unit;
typedef uint64_t __attribute__((may_alias, aligned(2))) alias_word;

// Copies units of bits, four at a time; never reads or writes beyond them.
INLINE void copy_units(const uint16_t* from, int64_t count, uint16_t* to) {
  int64_t i = 0;
  for (; i + 4 <= count; i += 4) *(alias_word*)(to + i) = *(const alias_word*)(from + i);
  for (; i < count; ++i) ((alias_unit*)to)[i] = from[i];
}

// Bits of windows: plane after plane, window after window.
struct Patches {
  const uint64_t* bits;
  int64_t plane, planes, words, count;  // plane: words from one to the next
  const int64_t* ones;                  // of each window: the sum over planes of 2^p times its bits
};

template <int SOME, int COLUMNS>
INLINE void clear(vq (&counts)[SOME][COLUMNS]) {
#pragma GCC unroll 4
  for (int i = 0; i < SOME; ++i)
#pragma GCC unroll 4
    for (int j = 0; j < COLUMNS; ++j) counts[i][j] = vq{};
}

// Counts words `from` to `end` of a plane.
template <int SOME, int COLUMNS>
INLINE void count_words(const uint64_t* bits, const uint64_t* signs, int64_t words, int64_t from,
                        int64_t end, vq (&counts)[SOME][COLUMNS]) {
  constexpr int64_t VECTORS = GROUP / WIDE;  // of a group
  for (int64_t k = from; k < end; ++k) {
    vq sign[COLUMNS];
#pragma GCC unroll 4
    for (int j = 0; j < COLUMNS; ++j)
      __builtin_memcpy(&sign[j], signs + (j / VECTORS * words + k) * GROUP + j % VECTORS * WIDE,
                       sizeof(vq));
#pragma GCC unroll 4
    for (int i = 0; i < SOME; ++i) {
      const vq bit = vq{} + bits[i * words + k];
#pragma GCC unroll 4
      for (int j = 0; j < COLUMNS; ++j) counts[i][j] += ones(bit & sign[j]);
    }
  }
}

// Adds scale * sum to `to` [window][width] for SOME windows and COLUMNS vectors of channels; the
// windows beyond `valid` are counted for nothing. A function of its own: the registers are its own.
template <int SOME, int COLUMNS>
__attribute__((noinline)) void tally_some(const Patches& a, int64_t item, const uint64_t* signs,
                                          const float* scales, int64_t width, float* to) {
  const int64_t words = a.words, valid = a.count - item;
  vq total[SOME][COLUMNS];
  clear(total);
  for (int64_t plane = a.planes - 1; plane >= 0; --plane) {
    const uint64_t* bits = a.bits + plane * a.plane + item * words;
#pragma GCC unroll 4
    for (int i = 0; i < SOME; ++i)
#pragma GCC unroll 4
      for (int j = 0; j < COLUMNS; ++j) total[i][j] += total[i][j];
    if constexpr (RUN == 0) {
      count_words(bits, signs, words, 0, words, total);
    } else {
      for (int64_t from = 0; from < words; from += RUN) {
        vq counts[SOME][COLUMNS];
        clear(counts);
        count_words(bits, signs, words, from, words - from < RUN ? words : from + RUN, counts);
#pragma GCC unroll 4
        for (int i = 0; i < SOME; ++i)
#pragma GCC unroll 4
          for (int j = 0; j < COLUMNS; ++j) total[i][j] += totals(counts[i][j]);
      }
    }
  }
  const vq magic = vq{} + 0x4330000000000000u;  // 2^52: the integer is what the mantissa holds
#pragma GCC unroll 4
  for (int i = 0; i < SOME; ++i) {
    if (i >= valid) break;
    const double set = (double)a.ones[item + i];
#pragma GCC unroll 4
    for (int j = 0; j < COLUMNS; ++j) {
      const vd count = (vd)(total[i][j] | magic) - 4503599627370496.0;
      const vs sum = __builtin_convertvector(count + count - set, vs);
      vs scale, now;
      __builtin_memcpy(&scale, scales + j * WIDE, sizeof scale);
      float* at = to + i * width + j * WIDE;
      __builtin_memcpy(&now, at, sizeof now);
      now += scale * sum;
      __builtin_memcpy(at, &now, sizeof now);
    }
  }
}

// Adds scale * sum of signs to `to` [window][width]. The signs of a few channels stay in L1 while all
// windows take theirs.
inline void tally(const Patches& a, const uint64_t* signs, const float* scales, int64_t width,
                  float* to) {
  constexpr int COLUMNS = 4;
  int64_t channel = 0;
  for (; channel + COLUMNS * WIDE <= width; channel += COLUMNS * WIDE)
    for (int64_t i = 0; i < a.count; i += ITEMS)
      tally_some<ITEMS, COLUMNS>(a, i, signs + channel * a.words, scales + channel,
                                 width, to + i * width + channel);
  for (; channel < width; channel += 2 * WIDE)
    for (int64_t i = 0; i < a.count; i += ITEMS)
      tally_some<ITEMS, 2>(a, i, signs + channel * a.words, scales + channel, width,
                           to + i * width + channel);
}

}  // namespace
