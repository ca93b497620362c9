// Vectors of floats as the compiler's own extension: as wide as the instruction set of this build.
// Everything is in an unnamed namespace, since the same code is compiled once per instruction set.
#pragma once
#include <cstdint>
#if defined(__SSE2__)
#include <immintrin.h>
#endif

#if defined(__AVX512F__)
#define LANES 16
#elif defined(__AVX2__)
#define LANES 8
#else
#define LANES 4
#endif
#define INLINE __attribute__((always_inline)) inline

namespace {

typedef float vf __attribute__((vector_size(4 * LANES)));
typedef int32_t vi __attribute__((vector_size(4 * LANES)));
typedef uint32_t vu __attribute__((vector_size(4 * LANES)));
typedef uint16_t vh __attribute__((vector_size(2 * LANES)));
typedef uint16_t bf16;

INLINE vf all(float a) { return a - vf{}; }
INLINE vf pick(vi mask, vf yes, vf no) { return mask ? yes : no; }
INLINE vf absolute(vf a) { return (vf)((vu)a & 0x7fffffffu); }

// Bits of the nearest bfloat16, ties to even; NaN stays NaN.
INLINE vu rounded(vf a) {
  vu bits = (vu)a;
  vu near = (bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16;
  return a == a ? near : (vu{} + 0x7fc0u);
}

template <class V, class E>
INLINE V fetch(const E* p, int64_t left) {
  V a{};
  if (left == LANES) __builtin_memcpy(&a, p, sizeof a);
  else __builtin_memcpy(&a, p, left * sizeof(E));
  return a;
}
template <class V, class E>
INLINE void place(E* p, V a, int64_t left) {
  if (left == LANES) __builtin_memcpy(p, &a, sizeof a);
  else __builtin_memcpy(p, &a, left * sizeof(E));
}

INLINE vf get(const float* p, int64_t left = LANES) { return fetch<vf>(p, left); }
INLINE vf get(const bf16* p, int64_t left = LANES) {
  return (vf)(__builtin_convertvector(fetch<vh>(p, left), vu) << 16);
}

// `stream`: past the cache; p is then aligned to the vector.
INLINE void put(float* p, vf a, int64_t left = LANES, bool stream = false) {
#if defined(__AVX512F__)
  if (stream && left == LANES) return _mm512_stream_ps(p, (__m512)a);
#elif defined(__AVX2__)
  if (stream && left == LANES) return _mm256_stream_ps(p, (__m256)a);
#elif defined(__SSE2__)
  if (stream && left == LANES) return _mm_stream_ps(p, (__m128)a);
#endif
  (void)stream;
  place(p, a, left);
}
INLINE void put_bits(bf16* p, vu bits, int64_t left, bool stream) {
  vh half = __builtin_convertvector(bits, vh);
#if defined(__AVX512F__)
  if (stream && left == LANES) return _mm256_stream_si256((__m256i*)p, (__m256i)half);
#elif defined(__AVX2__)
  if (stream && left == LANES) return _mm_stream_si128((__m128i*)p, (__m128i)half);
#endif
  (void)stream;
  place(p, half, left);
}
INLINE void put(bf16* p, vf a, int64_t left = LANES, bool stream = false) {
  put_bits(p, rounded(a), left, stream);
}
// Streamed stores are not ordered with what other threads see: wait for them.
INLINE void settle() {
#if defined(__SSE2__)
  _mm_sfence();
#endif
}

// exp to about 1 unit in the last place; 0 below the smallest normal number, inf above e^88.
INLINE vf exponential(vf x) {
  const vf magic = all(12582912.0f);  // 1.5 * 2^23: adding it rounds to an integer
  vf n = (x * 1.44269504f + magic) - magic;
  vf r = (x - n * 0.693359375f) - n * -2.12194440e-4f;
  vf p = all(1.9875691500e-4f);
  p = p * r + 1.3981999507e-3f;
  p = p * r + 8.3334519073e-3f;
  p = p * r + 4.1665795894e-2f;
  p = p * r + 1.6666665459e-1f;
  p = p * r + 5.0000001201e-1f;
  p = p * (r * r) + r + 1.0f;
  vi inside = (x > -87.3f) & (x < 88.0f);
  vi power = __builtin_convertvector(pick(inside, n, vf{}), vi);
  p = p * (vf)((power + 127) << 23);
  p = pick(x <= -87.3f, vf{}, pick(x >= 88.0f, all(__builtin_inff()), p));
  return pick(x == x, p, x);
}

}  // namespace
