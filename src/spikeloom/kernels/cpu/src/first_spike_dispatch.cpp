// Shares forward passes of first-spike neurons among threads; learning goes on one.
#include <algorithm>
#include <atomic>

#include "chosen.hpp"
#include "first_spike.hpp"
#include "threads.hpp"

#define EXPORT extern "C" __attribute__((visibility("default")))

extern const FirstSpikeVariant first_spike_baseline;
#ifdef SPIKELOOM_X86
extern const FirstSpikeVariant first_spike_avx2, first_spike_avx512;
#endif

namespace {

constexpr int64_t ALONE = 1 << 20;  // additions of a sample times samples, below which one thread does
constexpr int64_t BLOCK = 16;       // samples

const FirstSpikeVariant& variant() {
#ifdef SPIKELOOM_X86
  static const FirstSpikeVariant* const table[] = {&first_spike_avx512, &first_spike_avx2,
                                                   &first_spike_baseline};
  return chosen_of(table, 3);
#else
  return first_spike_baseline;
#endif
}

struct Job {
  const FirstSpikeCall& call;
  std::atomic<bool> failed{false};
};

void run_block(void* data, int64_t index) {
  Job& job = *static_cast<Job*>(data);
  const int64_t first = index * BLOCK, count = std::min(BLOCK, job.call.samples - first);
  if (variant().forward(job.call, first, count)) job.failed = true;
}

}  // namespace

EXPORT int spikeloom_first_spikes(const FirstSpikeCall* c) {
  const bool alone = c->samples * c->inputs * c->padded < ALONE;
  Job job{*c};
  share(alone ? 1 : std::max(1, c->threads), (c->samples + BLOCK - 1) / BLOCK, run_block, &job);
  return job.failed;
}
EXPORT int spikeloom_first_spike_learn(const FirstSpikeTraining* c) { return variant().learn(*c); }
EXPORT int spikeloom_first_spike_filters(const FilterTraining* c) { return variant().filters(*c); }
EXPORT int64_t spikeloom_first_spike_size(int which) {
  return which == 0   ? sizeof(FirstSpikeCall)
         : which == 1 ? sizeof(FirstSpikeTraining)
                      : sizeof(FilterTraining);
}
