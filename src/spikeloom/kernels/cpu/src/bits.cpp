// Zeros and ones to bits and back, compiled once per instruction set.
#include "bits.hpp"

#include "call.hpp"
#include "lanes.hpp"

namespace {

constexpr int64_t WORD = 64;

// One bit a lane: whether it is true.
INLINE uint64_t truths(vi mask) {
#if defined(__AVX512F__)
  return _mm512_movepi32_mask((__m512i)mask);
#elif defined(__AVX2__)
  return static_cast<uint32_t>(_mm256_movemask_ps((__m256)mask));
#elif defined(__SSE2__)
  return static_cast<uint32_t>(_mm_movemask_ps((__m128)mask));
#else
  uint64_t bits = 0;
  for (int lane = 0; lane < LANES; ++lane) bits |= static_cast<uint64_t>(mask[lane] & 1) << lane;
  return bits;
#endif
}

template <class IO>
bool pack_as(const IO* from, int64_t count, uint64_t* words) {
  for (int64_t first = 0; first < count; first += WORD) {
    const int64_t length = count - first < WORD ? count - first : WORD;
    uint64_t word = 0;
    vi other{};
    for (int64_t i = 0; i < length; i += LANES) {
      vf x = get(from + first + i, length - i < LANES ? length - i : LANES);
      vi one = x == 1.0f;
      other |= ~(one | (x == 0.0f));
      word |= truths(one) << i;
    }
    if (truths(other)) return false;
    words[first / WORD] = word;
  }
  return true;
}

template <class IO>
void unpack_as(const uint64_t* words, int64_t count, IO* to, bool stream) {
  vi place;
  for (int lane = 0; lane < LANES; ++lane) place[lane] = 1 << lane;
  for (int64_t first = 0; first < count; first += WORD) {
    const int64_t length = count - first < WORD ? count - first : WORD;
    const uint64_t word = words[first / WORD];
    for (int64_t i = 0; i < length; i += LANES) {
      vi part = (vi{} + static_cast<int32_t>(word >> i & ((1 << LANES) - 1))) & place;
      vf x = pick(part != 0, all(1.0f), vf{});
      put(to + first + i, x, length - i < LANES ? length - i : LANES, stream);
    }
  }
  settle();
}

bool pack(const void* from, int32_t dtype, int64_t count, uint64_t* words) {
  if (dtype == BFLOAT16) return pack_as(static_cast<const bf16*>(from), count, words);
  return pack_as(static_cast<const float*>(from), count, words);
}
void unpack(const uint64_t* words, int64_t count, int32_t dtype, void* to, bool stream) {
  if (dtype == BFLOAT16) unpack_as(words, count, static_cast<bf16*>(to), stream);
  else unpack_as(words, count, static_cast<float*>(to), stream);
}

}  // namespace

#define TEXT_OF(name) #name
#define TEXT(name) TEXT_OF(name)
#define JOINED(a, b) a##b
#define VARIANT(name) JOINED(bits_, name)
extern const BitsVariant VARIANT(ISA);
const BitsVariant VARIANT(ISA) = {TEXT(ISA), pack, unpack};
