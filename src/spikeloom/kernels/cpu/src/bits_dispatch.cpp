// Packs and unpacks in pieces, on several threads.
#include "bits.hpp"

#include <algorithm>
#include <atomic>

#include "call.hpp"
#include "chosen.hpp"
#include "threads.hpp"

#define EXPORT extern "C" __attribute__((visibility("default")))

extern const BitsVariant bits_baseline;
#ifdef SPIKELOOM_X86
extern const BitsVariant bits_avx2, bits_avx512;
#endif

namespace {

constexpr int64_t PIECE = 64 * 1024;          // elements, a multiple of 64
constexpr int64_t ALONE = 512 * 1024;         // elements below which one thread does it
constexpr int64_t BEYOND_CACHE = 8 << 20;     // bytes

const BitsVariant& variant() {
#ifdef SPIKELOOM_X86
  static const BitsVariant* const table[] = {&bits_avx512, &bits_avx2, &bits_baseline};
  return chosen_of(table, 3);
#else
  return bits_baseline;
#endif
}

struct Job {
  const BitsVariant& by;
  char* values;
  uint64_t* words;
  int64_t count;
  int32_t dtype;
  bool stream;
  std::atomic<bool> binary{true};

  int64_t size() const { return dtype == BFLOAT16 ? 2 : 4; }
  int64_t length(int64_t index) const { return std::min(PIECE, count - index * PIECE); }
  char* piece(int64_t index) const { return values + index * PIECE * size(); }
  void run(int threads, Task task) {
    share(count < ALONE ? 1 : std::max(1, threads), (count + PIECE - 1) / PIECE, task, this);
  }
};

void pack_piece(void* data, int64_t index) {
  Job& job = *static_cast<Job*>(data);
  if (!job.binary) return;
  if (!job.by.pack(job.piece(index), job.dtype, job.length(index), job.words + index * PIECE / 64))
    job.binary = false;
}

void unpack_piece(void* data, int64_t index) {
  Job& job = *static_cast<Job*>(data);
  job.by.unpack(job.words + index * PIECE / 64, job.length(index), job.dtype, job.piece(index),
                job.stream);
}

}  // namespace

// Bits of `count` floats or bfloat16 (Dtype in call.hpp) in (count + 63) / 64 words. Returns 1, or 0
// if a value is neither 0 nor 1; the words then hold nothing of use.
EXPORT int spikeloom_pack(const void* values, int dtype, int64_t count, uint64_t* words,
                          int threads) {
  char* from = const_cast<char*>(static_cast<const char*>(values));
  Job job{variant(), from, words, count, dtype, false};
  job.run(threads, pack_piece);
  return job.binary;
}

// The values that `words` were packed from, as floats or bfloat16.
EXPORT void spikeloom_unpack(const uint64_t* words, int dtype, int64_t count, void* values,
                             int threads) {
  Job job{variant(), static_cast<char*>(values), const_cast<uint64_t*>(words), count, dtype, false};
  job.stream = reinterpret_cast<uintptr_t>(values) % 64 == 0 && count * job.size() >= BEYOND_CACHE;
  job.run(threads, unpack_piece);
}
