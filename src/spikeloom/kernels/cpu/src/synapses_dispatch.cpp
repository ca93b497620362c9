// Shares synapses with decays of their own among threads: samples, or blocks of their gradients.
#include "synapses.hpp"

#include <algorithm>
#include <atomic>

#include "chosen.hpp"
#include "threads.hpp"

#define EXPORT extern "C" __attribute__((visibility("default")))

extern const SynapsesVariant synapses_baseline;
#ifdef SPIKELOOM_X86
extern const SynapsesVariant synapses_avx2, synapses_avx512;
#endif

namespace {

constexpr int64_t BYTES = 256 * 1024;  // of sums of a task, so that they stay in L2
constexpr int64_t ALONE = 64 * 1024;   // synapse updates below which threads cost more than they give
constexpr int64_t TILE = 8;            // rows that are gone through at once, at most

const SynapsesVariant& variant() {
#ifdef SPIKELOOM_X86
  static const SynapsesVariant* const table[] = {&synapses_avx512, &synapses_avx2,
                                                 &synapses_baseline};
  return chosen_of(table, 3);
#else
  return synapses_baseline;
#endif
}

template <class Call>
int threads_for(const Call& c, int64_t updates) {
  return updates < ALONE ? 1 : std::max(1, c.threads);
}

struct Job {
  const SynapsesCall* synapses;
  const SpikingCall* spiking;
  SynapsesTask run;
  SpikingTask run_sample;
  Cut cut;
  int64_t floats;
  std::atomic<bool> failed{false};
};

void run_task(void* data, int64_t index) {
  Job& job = *static_cast<Job*>(data);
  float* floats = scratch(job.floats);
  if (!floats) job.failed = true;
  else if (job.synapses) job.run(*job.synapses, job.cut, index, floats);
  else job.run_sample(*job.spiking, index, floats);
}

int run(const SynapsesCall& c, SynapsesTask function, bool gradients) {
  const int threads = threads_for(c, c.steps * c.batch * c.rows * c.padded);
  const int64_t size = c.wide ? 2 : 1, lanes = variant().lanes / size;  // of a number, in floats
  Cut cut{c.padded / lanes, 4};
  const int64_t blocks = gradients ? (c.rows + CHUNK - 1) / CHUNK : c.batch;
  if (!gradients) {
    const int64_t fit = BYTES / (c.steps * lanes * size * (int64_t)sizeof(float));
    cut.group = std::max<int64_t>(1, std::min<int64_t>(16, fit));
  }
  cut.vectors = (c.lanes + lanes - 1) / lanes;  // those of padding alone are left out
  while (cut.group > 1 && blocks * cut.groups() < 2 * threads) cut.group /= 2;
  const int64_t numbers = gradients
                              ? 2 * cut.group * CHUNK * lanes + c.steps * (CHUNK + lanes)
                              : c.steps * (cut.group * lanes + TILE);
  Job job{&c, nullptr, function, nullptr, cut, numbers * size};
  share(threads, blocks * cut.groups(), run_task, &job);
  return job.failed;
}

int run(const SpikingCall& c, SpikingTask function) {
  const int threads = threads_for(c, c.steps * c.batch * c.padded * (c.weight ? c.width : 1));
  const int64_t size = c.wide ? 2 : 1, matrix = c.weight ? c.width * c.padded : 0;
  Job job{nullptr, &c, nullptr, function, {}, (6 * c.padded + matrix) * size + c.width};
  share(threads, c.batch, run_task, &job);
  return job.failed;
}

}  // namespace

EXPORT int spikeloom_synapses_sums(const SynapsesCall* c) {
  return run(*c, variant().sums[c->wide], false);
}
EXPORT int spikeloom_synapses_gradients(const SynapsesCall* c) {
  return run(*c, variant().gradients[c->wide], true);
}
EXPORT int spikeloom_synapses_spikes(const SpikingCall* c) {
  return run(*c, variant().spikes[c->wide]);
}
EXPORT int spikeloom_synapses_errors(const SpikingCall* c) {
  return run(*c, variant().errors[c->wide]);
}
EXPORT int64_t spikeloom_synapses_size(int which) {
  return which ? sizeof(SpikingCall) : sizeof(SynapsesCall);
}
