// Cuts neurons with spike-time gradients into blocks and shares these among threads.
#include <algorithm>
#include <atomic>

#include "chosen.hpp"
#include "threads.hpp"
#include "timed.hpp"

#define EXPORT extern "C" __attribute__((visibility("default")))

extern const TimedVariant timed_baseline;
#ifdef SPIKELOOM_X86
extern const TimedVariant timed_avx2, timed_avx512;
#endif

namespace {

constexpr int64_t BLOCK = 16384;       // neurons
constexpr int64_t FLOATS = 64 * 1024;  // of scratch of a block, so that it stays in L2
constexpr int64_t ALONE = 64 * 1024;   // neuron updates below which threads cost more than they give

const TimedVariant& variant() {
#ifdef SPIKELOOM_X86
  static const TimedVariant* const table[] = {&timed_avx512, &timed_avx2, &timed_baseline};
  return chosen_of(table, 3);
#else
  return timed_baseline;
#endif
}

struct Job {
  const TimedCall& call;
  TimedBlock run;
  int64_t block, rows;
  std::atomic<bool> failed{false};
};

void run_block(void* data, int64_t index) {
  Job& job = *static_cast<Job*>(data);
  const int64_t first = index * job.block;
  const int64_t count = std::min(job.block, job.call.neurons - first);
  float* floats = scratch(scratch_row(count) * job.rows);
  if (!floats) job.failed = true;
  else job.run(job.call, first, count, floats);
}

// 0, or 1 if memory ran out.
int run(const TimedCall& c, TimedBlock function, int64_t step_rows) {
  const int threads = c.steps * c.neurons < ALONE ? 1 : std::max(1, c.threads);
  const int64_t rows = TIMED_ROWS + step_rows * c.steps;
  int64_t block = std::min({BLOCK, FLOATS / rows, (c.neurons + threads - 1) / threads});
  block = std::max(ALIGN, scratch_row(block));
  Job job{c, function, block, rows};
  share(threads, (c.neurons + block - 1) / block, run_block, &job);
  return job.failed;
}

}  // namespace

EXPORT int spikeloom_timed_forward(const TimedCall* c) { return run(*c, variant().forward, 0); }
EXPORT int spikeloom_timed_backward(const TimedCall* c) { return run(*c, variant().backward, 2); }
EXPORT int64_t spikeloom_timed_size() { return sizeof(TimedCall); }
