// Runs a program on bits: all threads walk through its ops together, each piece done by one of them.
#include <atomic>
#include <cstring>
#include <memory>
#include <new>
#include <thread>

#include "sums.hpp"
#include "threads.hpp"
#if defined(__x86_64__)
#include <immintrin.h>
#endif

#define EXPORT extern "C" __attribute__((visibility("default")))

EXPORT const char* spikeloom_variant(const char* name);
extern const SumsVariant sums_baseline;
#ifdef SPIKELOOM_X86
extern const SumsVariant sums_avx2, sums_avx512, sums_avx512popcnt;
#endif

namespace {

#ifdef SPIKELOOM_X86
std::atomic<bool> counts{__builtin_cpu_supports("avx512vpopcntdq") != 0};
#endif

Piece current() {
#ifdef SPIKELOOM_X86
  const char* name = spikeloom_variant(nullptr);
  if (counts && !std::strcmp(sums_avx512.name, name)) return sums_avx512popcnt.piece;
  const SumsVariant* wide[] = {&sums_avx512, &sums_avx2};
  for (const SumsVariant* variant : wide)
    if (!std::strcmp(variant->name, name)) return variant->piece;
#endif
  return sums_baseline.piece;
}

struct Progress {
  std::atomic<int64_t> next{0}, done{0};
};

struct Walk {
  const Op* ops;
  int64_t count;
  Piece piece;
  Progress* progress;
  std::atomic<bool> failed{false};
};

inline void wait_a_little(int turn) {
  if (turn % 64 == 63) return std::this_thread::yield();
#if defined(__x86_64__)
  _mm_pause();
#endif
}

// Takes pieces of one op after the other. Whoever finds none left waits for those that others have
// begun, never for threads that have not come: a thread alone does everything.
void walk(void* data, int64_t) {
  Walk& w = *static_cast<Walk*>(data);
  for (int64_t i = 0; i < w.count; ++i) {
    const Op& op = w.ops[i];
    Progress& progress = w.progress[i];
    for (int64_t k; (k = progress.next.fetch_add(1, std::memory_order_relaxed)) < op.tasks;) {
      if (!w.piece(op, k)) w.failed = true;
      progress.done.fetch_add(1, std::memory_order_release);
    }
    for (int turn = 0; progress.done.load(std::memory_order_acquire) < op.tasks; ++turn)
      wait_a_little(turn);
  }
}

}  // namespace

// 0, or 1 if memory ran out.
EXPORT int spikeloom_program_run(const Op* ops, int64_t count, int threads) {
  std::unique_ptr<Progress[]> progress(new (std::nothrow) Progress[count]);
  if (!progress) return 1;
  Walk w{ops, count, current(), progress.get()};
  share(threads, threads, walk, &w);
  return w.failed ? 1 : 0;
}

// Whether avx512 counts bits with the processor's own instruction; with 0 or 1, first says whether it
// may. For tests.
EXPORT int spikeloom_program_popcount(int wanted) {
#ifdef SPIKELOOM_X86
  if (wanted >= 0) counts = wanted && __builtin_cpu_supports("avx512vpopcntdq");
  return counts;
#else
  (void)wanted;
  return 0;
#endif
}

EXPORT int64_t spikeloom_program_size(int which) {
  return which == 0 ? sizeof(Op) : which == 1 ? sizeof(Source) : sizeof(Window);
}
